// Threads for work that would hold up a loop: bounded, started when first needed, in order.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "async/posted_queue.h"

namespace ashlar {

class WorkerPool {
 public:
  /// `most` threads; 0: as many as there are cores.
  explicit WorkerPool(unsigned most) : most_(most) {}
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  ~WorkerPool() { finish(); }

  /// Runs `work` on one of the threads, after what came before it. From any thread.
  /// Where not even one thread can be had, or after finish(), runs it here.
  void run(Posted& work) noexcept;

  /// Runs what is left and ends the threads. Not on one of them.
  void finish() noexcept;

  /// Threads there can be.
  unsigned most() const noexcept;

 private:
  void serve() noexcept;
  bool start_thread() noexcept;

  mutable std::atomic<unsigned> most_;  // 0: not asked for yet
  std::mutex guard_;
  std::condition_variable work_or_end_;
  PostedQueue queue_;
  size_t queued_ = 0;
  size_t idle_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ashlar
