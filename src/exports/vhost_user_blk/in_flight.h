// Which requests of a queue are in flight, noted in memory that outlives this process: the frontend
// keeps it, and hands it to the process that goes on ("Inflight I/O tracking" of the protocol).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ashlar/error.h"

namespace ashlar::vhost {

/// The part of one queue. A view of shared memory; the frontend may write nonsense into it at any
/// time, so only what was checked while resuming is ever read.
class InFlightLog {
 public:
  /// No log: nothing is noted, nothing is resumed.
  InFlightLog() = default;

  /// Bytes that a queue of that size needs.
  static size_t size_for(uint32_t queue_size);

  /// What the process before left: heads that were taken and not answered, in the order they were
  /// taken.
  struct Resumed {
    std::vector<uint16_t> heads;
  };
  /// Takes the log up, with the queue's used index as it is in the ring. A fresh one is set up.
  /// Errors: kInvalidArgument (reason "vhost-in-flight").
  static Result<InFlightLog> open(std::span<std::byte> area, uint16_t queue_size,
                                  uint16_t used_index, Resumed& resumed);

  explicit operator bool() const noexcept { return !area_.empty(); }

  /// `head` was taken from the available ring.
  void take(uint16_t head) noexcept;
  /// `head` will be among the next to be published.
  void answer(uint16_t head) noexcept;
  /// The ring's used index has moved to `used_index`; `heads` are those answered since last time.
  void published(std::span<const uint16_t> heads, uint16_t used_index) noexcept;

 private:
  std::span<std::byte> entry(uint16_t head) const noexcept;
  void set_in_flight(uint16_t head, uint8_t value) noexcept;
  Result<void> finish_last_batch(uint16_t queue_size, uint16_t used_index);
  void collect(uint16_t queue_size, Resumed& resumed);

  std::span<std::byte> area_;
  uint64_t counter_ = 0;
  uint16_t last_batch_head_ = 0;
};

}  // namespace ashlar::vhost
