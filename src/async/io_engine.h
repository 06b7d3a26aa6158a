// What a loop uses to carry out operations: a ring, or a pool of threads that block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "async/io_operation.h"
#include "async/posted_queue.h"

namespace ashlar {

/// Carries out the file and socket operations of one loop, on the loop's thread.
class IoEngine {
 public:
  static constexpr uint64_t kForever = std::numeric_limits<uint64_t>::max();

  IoEngine() = default;
  IoEngine(const IoEngine&) = delete;
  IoEngine& operator=(const IoEngine&) = delete;
  virtual ~IoEngine() = default;

  /// Takes `operation` in. It starts at the latest in the next turn() and never ends before it.
  virtual void submit(IoOperation& operation) noexcept = 0;

  /// Starts what was taken in, waits up to `timeout_ns` until an operation has ended or the loop's
  /// wake descriptor is signalled, and puts all that have ended into `finished`.
  virtual void turn(uint64_t timeout_ns, PostedQueue& finished) noexcept = 0;

  /// From now on starts operations when so many wait for the next turn(); 0: never before it.
  virtual void set_max_batch(size_t /*operations*/) noexcept {}

  /// Operations that were submitted and have not ended.
  virtual size_t in_flight() const noexcept = 0;

  /// Asks the operations in flight to end early; they end by turn() all the same.
  virtual void cancel_all() noexcept = 0;
};

}  // namespace ashlar
