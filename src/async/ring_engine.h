// Operations by io_uring: queued one by one, started and reaped in batches.
#pragma once

#include <liburing.h>

#include <memory>

#include "async/io_engine.h"
#include "async/wake_descriptor.h"

namespace ashlar {

/// One ring for one thread. Everything that was submitted since the last turn goes to the kernel
/// in one call, which also waits.
class RingEngine final : public IoEngine {
 public:
  /// Null where the kernel or the container refuses a ring, or the kernel is too old.
  static std::unique_ptr<IoEngine> create(WakeDescriptor& wake);
  ~RingEngine() override;

  void submit(IoOperation& operation) noexcept override;
  void turn(uint64_t timeout_ns, PostedQueue& finished) noexcept override;
  void set_max_batch(size_t operations) noexcept override { max_batch_ = operations; }
  size_t in_flight() const noexcept override { return in_flight_; }
  void cancel_all() noexcept override;

 private:
  RingEngine(const io_uring& ring, WakeDescriptor& wake) : ring_(ring), wake_(wake) {}

  io_uring_sqe* free_entry() noexcept;
  bool enqueue(IoOperation& operation) noexcept;
  void enqueue_or_keep(IoOperation& operation) noexcept;
  void send_signal(int fd) noexcept;
  void feed() noexcept;
  void arm_wake() noexcept;
  void start() noexcept;
  void wait(uint64_t timeout_ns) noexcept;
  void reap(PostedQueue& finished) noexcept;
  void complete(uint64_t user_data, int result, PostedQueue& finished) noexcept;

  io_uring ring_;
  WakeDescriptor& wake_;
  PostedQueue backlog_;  // what found the submission queue full
  PostedQueue ended_;    // ended without the kernel
  size_t in_flight_ = 0;
  size_t max_batch_ = 0;
  uint64_t wake_count_ = 0;
  bool wake_armed_ = false;
  bool ending_ = false;
};

}  // namespace ashlar
