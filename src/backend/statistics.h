// Counters of a backend: one slot per loop, so that counting touches no shared cache line.
#pragma once

#include <array>
#include <atomic>

#include "ashlar/backend.h"
#include "ashlar/loop.h"

namespace ashlar {

class StatisticsSlots {
 public:
  enum Counter : unsigned {
    kReads,
    kWrites,
    kFlushes,
    kDiscards,
    kZeroWrites,
    kReadBytes,
    kWrittenBytes,
    kDiscardedBytes,
    kFailedReads,
    kFailedWrites,
    kCounters
  };

  /// Adds to a counter of the current loop, which alone writes to its slot.
  void add(Counter counter, uint64_t value) noexcept {
    std::atomic<uint64_t>& own = slots_[Loop::current().index()].values[counter];
    own.store(own.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
  }

  BackendStatistics sum() const noexcept {
    std::array<uint64_t, kCounters> total{};
    for (const Slot& slot : slots_) {
      for (unsigned i = 0; i < kCounters; ++i) {
        total[i] += slot.values[i].load(std::memory_order_relaxed);
      }
    }
    BackendStatistics sums;
    sums.reads = total[kReads];
    sums.writes = total[kWrites];
    sums.flushes = total[kFlushes];
    sums.discards = total[kDiscards];
    sums.zero_writes = total[kZeroWrites];
    sums.read_bytes = total[kReadBytes];
    sums.written_bytes = total[kWrittenBytes];
    sums.discarded_bytes = total[kDiscardedBytes];
    sums.failed_reads = total[kFailedReads];
    sums.failed_writes = total[kFailedWrites];
    return sums;
  }

 private:
  struct alignas(64) Slot {
    std::array<std::atomic<uint64_t>, kCounters> values{};
  };
  std::array<Slot, kMaxLoops> slots_;
};

}  // namespace ashlar
