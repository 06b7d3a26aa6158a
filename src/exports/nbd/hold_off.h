// Whether to let requests gather before they are received.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ashlar::nbd {

/// A quick server serves a client with many requests in flight in step with it, one or two at a
/// time, and each time costs a wake-up, a receive and a send on both sides. To wait for a moment
/// before receiving lets more of them come, while the client is busy with the replies that it has.
/// Where a client waits for a reply the pause is lost. So both ways are measured in turn, and the
/// pause is made while requests then come faster than without. Knows no clock.
class HoldOff {
 public:
  static constexpr uint64_t kPauseNs = 15'000;
  static constexpr uint64_t kEpoch = 1024;  ///< requests over which a way is measured

  /// `received` requests came by the last receive, and were taken by `now_ns`. True: pause.
  bool pause_after(uint64_t received, uint64_t now_ns) noexcept {
    // A client that sends one at a time waits for it.
    singles_ = received < 2 ? singles_ + 1 : 0;
    if (pausing_ && singles_ >= kMostSingles) give_up(now_ns);
    requests_ += received;
    if (requests_ >= kEpoch) end_epoch(now_ns);
    return pausing_;
  }

 private:
  static constexpr uint64_t kFirstWait = 4;  // epochs until the next trial, then ever more ...
  static constexpr uint64_t kMostWait = 256;
  static constexpr uint64_t kPausingEpochs = 64;    // then the other way is measured again
  static constexpr uint64_t kIdleNs = 100'000'000;  // an epoch as long as this says nothing
  static constexpr uint64_t kGainPercent = 3;       // what pauses must bring
  static constexpr unsigned kMostBad = 2;
  static constexpr unsigned kMostSingles = 3;

  void end_epoch(uint64_t now_ns) noexcept {
    const uint64_t took_ns = now_ns - start_ns_;
    const uint64_t measured = requests_;
    const uint64_t cost = took_ns * 16 / measured;  // sixteenths of a nanosecond
    begin_epoch(now_ns);
    if (took_ns >= kIdleNs) return;
    if (!pausing_) {
      plain_cost_ = cost;
      if (wait_ != 0) --wait_;
      // Less than two would come in a pause.
      if (wait_ == 0 && took_ns * 2 <= kPauseNs * measured) begin_pausing();
    } else {
      judge(cost, now_ns);
    }
  }
  /// An epoch with pauses has cost `cost`. A single bad one may be somebody else's doing.
  void judge(uint64_t cost, uint64_t now_ns) noexcept {
    const bool good = cost * (100 + kGainPercent) <= plain_cost_ * 100;
    bad_ = good ? 0 : bad_ + 1;
    if (good) next_wait_ = kFirstWait;
    if (bad_ == kMostBad) {
      give_up(now_ns);
    } else if (++epochs_ == kPausingEpochs) {
      pausing_ = false;
      wait_ = 1;
    }
  }
  void begin_pausing() noexcept {
    pausing_ = true;
    epochs_ = bad_ = 0;
  }
  void give_up(uint64_t now_ns) noexcept {
    pausing_ = false;
    wait_ = next_wait_;
    next_wait_ = std::min(next_wait_ * 2, kMostWait);
    begin_epoch(now_ns);
  }
  void begin_epoch(uint64_t now_ns) noexcept {
    start_ns_ = now_ns;
    requests_ = 0;
  }

  bool pausing_ = false;
  uint64_t start_ns_ = 0;
  uint64_t requests_ = 0;
  uint64_t plain_cost_ = 0;  // of a request without pauses
  uint64_t wait_ = 2;        // epochs; the first one begins with the connection and says nothing
  uint64_t next_wait_ = kFirstWait;
  uint64_t epochs_ = 0;  // of pausing
  unsigned bad_ = 0;     // epochs, the latest ones
  unsigned singles_ = 0;
};

}  // namespace ashlar::nbd
