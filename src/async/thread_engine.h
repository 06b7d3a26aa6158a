// Operations without io_uring: blocking file calls on a pool of threads, poll() for sockets.
#pragma once

#include <poll.h>

#include <vector>

#include "async/io_engine.h"
#include "async/wake_descriptor.h"
#include "async/worker_pool.h"

namespace ashlar {

/// For kernels and containers without io_uring, and for tests. Right, not fast.
class ThreadEngine final : public IoEngine {
 public:
  ThreadEngine(Loop& loop, WakeDescriptor& wake, WorkerPool& pool)
      : loop_(loop), wake_(wake), pool_(pool) {}
  ~ThreadEngine() override { assert(in_flight_ == 0); }

  void submit(IoOperation& operation) noexcept override;
  void turn(uint64_t timeout_ns, PostedQueue& finished) noexcept override;
  size_t in_flight() const noexcept override { return in_flight_; }
  void cancel_all() noexcept override;

 private:
  static void run_on_pool(Posted& work) noexcept;
  static void end_on_loop(Posted& work) noexcept;
  void cancel(IoOperation& operation) noexcept;
  void try_waiting() noexcept;

  Loop& loop_;
  WakeDescriptor& wake_;
  WorkerPool& pool_;
  std::vector<IoOperation*> waiting_;  // for their descriptors, in order of arrival
  std::vector<pollfd> polled_;
  PostedQueue ended_;
  size_t in_flight_ = 0;
};

}  // namespace ashlar
