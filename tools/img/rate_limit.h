// No more than so many bytes per second.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>

#include "ashlar/loop.h"

namespace ashlar::tools {

/// Spreads work over time. From any loop of one runtime.
class RateLimit {
 public:
  /// 0: no limit.
  explicit RateLimit(uint64_t bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  bool limited() const { return bytes_per_second_ != 0; }

  /// Returns when `bytes` more may be done.
  Task<void> take(uint64_t bytes) {
    constexpr double kNsPerSecond = 1e9;
    const uint64_t now = Loop::current().now_ns();
    uint64_t start = 0;
    {
      const std::lock_guard lock(lock_);
      start = std::max(now, next_ns_);
      next_ns_ = start + static_cast<uint64_t>(static_cast<double>(bytes) * kNsPerSecond /
                                               static_cast<double>(bytes_per_second_));
    }
    if (start > now) co_await sleep_for(start - now);
  }

 private:
  const uint64_t bytes_per_second_;
  std::mutex lock_;
  uint64_t next_ns_ = 0;  // when all that was taken so far is paid for
};

}  // namespace ashlar::tools
