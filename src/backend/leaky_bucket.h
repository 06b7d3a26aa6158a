// A rate in time: how long until a bucket that leaks takes more.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace ashlar {

/// What is poured in leaks out at a fixed rate. The bucket takes anything while it is not above its
/// brim; then it lets wait until it has leaked down to that. Exact: parts of nanoseconds are kept.
class LeakyBucket {
 public:
  /// No limit.
  LeakyBucket() = default;
  /// Leaks `rate` units a second, and holds `capacity` units of slack.
  LeakyBucket(uint64_t rate, uint64_t capacity)
      : rate_(rate), slack_ns_(in_time(Wide{capacity} * kSecond / rate)) {}

  /// Whose slack is what leaks out in `slack_ns`.
  static LeakyBucket with_slack(uint64_t rate, uint64_t slack_ns) {
    LeakyBucket bucket(rate, 0);
    bucket.slack_ns_ = slack_ns;
    return bucket;
  }
  /// Until it takes more: 0 now.
  uint64_t wait_ns(uint64_t now_ns) const noexcept {
    const uint64_t at_the_brim = now_ns + slack_ns_;
    if (rate_ == 0 || empty_at_ns_ < at_the_brim) return 0;
    return empty_at_ns_ - at_the_brim + (part_ != 0 ? 1 : 0);
  }
  /// `units` of a request that counts in `scale`ths: 2560 units of scale 1024 are 2.5.
  void pour(uint64_t now_ns, uint64_t units, uint64_t scale) noexcept {
    if (rate_ == 0) return;
    if (empty_at_ns_ < now_ns) {
      empty_at_ns_ = now_ns;
      part_ = 0;
    }
    const Wide per_ns = Wide{rate_} * scale;
    if (scale != scale_) part_ = part_ * scale / scale_;
    scale_ = scale;
    const Wide poured = Wide{units} * kSecond + part_;
    empty_at_ns_ = std::min(empty_at_ns_ + in_time(poured / per_ns), kFarAway);
    part_ = poured % per_ns;
  }

 private:
  __extension__ using Wide = unsigned __int128;
  static constexpr uint64_t kSecond = 1'000'000'000;
  static constexpr uint64_t kFarAway = std::numeric_limits<uint64_t>::max() / 4;  // 146 years
  static uint64_t in_time(Wide ns) noexcept {
    return ns > kFarAway ? kFarAway : static_cast<uint64_t>(ns);
  }

  uint64_t rate_ = 0;
  uint64_t slack_ns_ = 0;
  uint64_t empty_at_ns_ = 0;
  Wide part_ = 0;  // of the next nanosecond, in 1 / (rate_ * scale_)
  uint64_t scale_ = 1;
};

}  // namespace ashlar
