// The worker pool: one queue, as many threads as there was ever work for at once.
#include "async/worker_pool.h"

#include <algorithm>
#include <system_error>

namespace ashlar {

unsigned WorkerPool::most() const noexcept {
  unsigned most = most_.load(std::memory_order_relaxed);
  if (most == 0) {
    // Only when it matters: the answer is read from files, and most short-lived tools need none.
    most = std::max(1u, std::thread::hardware_concurrency());
    most_.store(most, std::memory_order_relaxed);
  }
  return most;
}

bool WorkerPool::start_thread() noexcept {
  try {
    threads_.emplace_back([this] { serve(); });
    return true;
  } catch (const std::system_error&) {
    return false;  // no more threads to be had
  }
}

void WorkerPool::run(Posted& work) noexcept {
  bool here = false;
  {
    std::lock_guard lock(guard_);
    if (queued_ >= idle_ && threads_.size() < most() && !ending_) start_thread();
    here = threads_.empty() || ending_;
    if (!here) {
      queue_.push(work);
      ++queued_;
      // Under the lock: the runtime may be gone as soon as the last piece of work has run.
      work_or_end_.notify_one();
    }
  }
  if (here) work.run(work);
}

void WorkerPool::serve() noexcept {
  std::unique_lock lock(guard_);
  while (true) {
    Posted* work = queue_.pop();
    if (work != nullptr) {
      --queued_;
      lock.unlock();
      work->run(*work);
      lock.lock();
      continue;
    }
    if (ending_) return;
    ++idle_;
    work_or_end_.wait(lock);
    --idle_;
  }
}

void WorkerPool::finish() noexcept {
  std::vector<std::thread> threads;
  {
    std::lock_guard lock(guard_);
    ending_ = true;
    threads.swap(threads_);
    work_or_end_.notify_all();
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace ashlar
