// How long a loop looks for news before it sleeps: learned from how long it had to wait.
#pragma once

#include <algorithm>
#include <cstdint>

#include "async/loop_tuning.h"

namespace ashlar {

/// The duration moves between 0 and LoopTuning::poll_max_ns. It grows when a little more of it
/// would have spared a sleep, and shrinks when the whole maximum would not have. Knows no clock.
class AdaptivePoll {
 public:
  static constexpr uint64_t kFirstNs = 4'000;

  void tune(const LoopTuning& tuning) noexcept {
    tuning_ = tuning;
    now_ns_ = std::min(now_ns_, tuning.poll_max_ns);
    usual_ns_ = 0;
  }
  bool off() const noexcept { return tuning_.poll_max_ns == 0; }
  /// How long to look for news this time.
  uint64_t duration_ns() const noexcept { return now_ns_; }

  /// The news came `ns` after there was nothing to do any more.
  void waited(uint64_t ns) noexcept {
    if (off()) return;
    const uint64_t usual = weigh(ns);
    if (usual > tuning_.poll_max_ns) {
      now_ns_ = tuning_.poll_shrink == 0 ? 0 : now_ns_ / tuning_.poll_shrink;
    } else if (usual > now_ns_) {
      now_ns_ = std::min(grown(), tuning_.poll_max_ns);
    }
  }

 private:
  /// A single wait, or the moving average of waits.
  uint64_t weigh(uint64_t ns) noexcept {
    if (tuning_.poll_weight == 0) return ns;
    const uint64_t weight = std::min<uint64_t>(tuning_.poll_weight, 63);
    // One very long wait is not to outweigh all that follow.
    ns = std::min(ns, 2 * std::min(tuning_.poll_max_ns, UINT64_MAX / 4));
    usual_ns_ = usual_ns_ - (usual_ns_ >> weight) + (ns >> weight);
    return usual_ns_;
  }
  uint64_t grown() const noexcept {
    constexpr uint64_t kUsualGrowth = 2;
    if (now_ns_ == 0) return kFirstNs;
    const uint64_t factor = tuning_.poll_grow == 0 ? kUsualGrowth : tuning_.poll_grow;
    // At least a step, also with a factor of 1; no overflow past the maximum.
    if (now_ns_ > tuning_.poll_max_ns / factor) return tuning_.poll_max_ns;
    return std::max(now_ns_ * factor, now_ns_ + 1);
  }

  LoopTuning tuning_;
  uint64_t now_ns_ = 0;
  uint64_t usual_ns_ = 0;
};

}  // namespace ashlar
