// What can be tuned about a loop while it runs.
#pragma once

#include <cstdint>

#include "ashlar/loop.h"

namespace ashlar {

/// How a loop waits for news and hands operations to the system.
struct LoopTuning {
  uint64_t poll_max_ns = 0;  ///< longest search for news before it sleeps; 0: it sleeps at once
  uint64_t poll_grow = 0;    ///< factor by which the search gets longer; 0: 2
  uint64_t poll_shrink = 0;  ///< divisor by which it gets shorter; 0: none next time
  uint64_t poll_weight = 0;  ///< a wait counts 1 / 2^weight of the average; 0: each by itself
  uint64_t max_batch = 0;    ///< most operations handed over together; 0: all there are
};

/// From any thread; holds from one of the loop's next turns on. A simulated loop never waits: for
/// it nothing changes.
void tune(Loop& loop, const LoopTuning& tuning) noexcept;

}  // namespace ashlar
