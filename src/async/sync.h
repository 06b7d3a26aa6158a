// Waiting without blocking: scope, gate, mutex, semaphore, range lock. All work across loops; a
// waiter is always resumed on its own loop, by a post, in the order of arrival.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <mutex>
#include <utility>

#include "ashlar/bytes.h"
#include "ashlar/loop.h"
#include "ashlar/task.h"

namespace ashlar {

class Detached;  // src/async/on_loop.h

/// One suspended coroutine in a wait list. Lives in the awaiter, so in the waiter's frame.
struct Waiter : Posted {
  Waiter* next_waiter = nullptr;
  Loop* home = nullptr;
  std::coroutine_handle<> handle;

  /// Notes who waits. Call before publishing in a list.
  void prepare(std::coroutine_handle<> self) noexcept;
  /// Resumes it on its loop. The waiter may be gone when this returns.
  void wake() noexcept;
  /// Resumes all of a chain by next_waiter.
  static void wake_all(Waiter* chain) noexcept;
};

/// First in, first out list of waiters. Its user locks it.
class WaitList {
 public:
  bool empty() const noexcept { return head_ == nullptr; }
  Waiter* front() const noexcept { return head_; }
  void push(Waiter& waiter) noexcept;
  Waiter* pop() noexcept;
  /// All of them, as a chain by next_waiter.
  Waiter* take_all() noexcept;

 private:
  Waiter* head_ = nullptr;
  Waiter* tail_ = nullptr;
};

/// Background tasks with one owner. The owner awaits join() before it goes away; the destructor
/// asserts that nothing is left.
class Scope {
 public:
  Scope() = default;
  Scope(const Scope&) = delete;
  ~Scope();
  /// Starts `task` now, on the current loop. It must end on it.
  void spawn(Task<void> task);
  /// Waits until every spawned task has finished. Further spawns start a new round.
  Task<void> join();
  size_t running() const noexcept { return running_.load(std::memory_order_relaxed); }

 private:
  class JoinAwaiter;
  static Detached run(Scope& scope, Task<void> task);
  void finished() noexcept;
  std::atomic<size_t> running_{0};
  std::mutex guard_;
  WaitList joining_;
};

/// Mutual exclusion across coroutines and loops. Not recursive.
class Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  class [[nodiscard]] Guard {
   public:
    Guard() = default;
    explicit Guard(Mutex& mutex) : mutex_(&mutex) {}
    Guard(Guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Guard& operator=(Guard&& other) noexcept {
      unlock();
      mutex_ = std::exchange(other.mutex_, nullptr);
      return *this;
    }
    ~Guard() { unlock(); }
    void unlock() noexcept {
      if (mutex_ != nullptr) std::exchange(mutex_, nullptr)->release();
    }

   private:
    Mutex* mutex_ = nullptr;
  };
  class LockAwaiter : Waiter {
   public:
    explicit LockAwaiter(Mutex& mutex) : mutex_(mutex) {}
    bool await_ready() noexcept { return mutex_.try_acquire(); }
    bool await_suspend(std::coroutine_handle<> self) noexcept;
    Guard await_resume() noexcept { return Guard(mutex_); }

   private:
    Mutex& mutex_;
  };
  /// Awaitable; gives the Guard that unlocks.
  LockAwaiter lock() { return LockAwaiter(*this); }

 private:
  bool try_acquire() noexcept;
  void release() noexcept;
  std::mutex guard_;
  bool held_ = false;
  WaitList waiting_;
};

/// Counted permits, taken in order of arrival: who asks for many is not overtaken for ever.
class Semaphore {
 public:
  explicit Semaphore(uint64_t permits) : permits_(permits) {}
  Semaphore(const Semaphore&) = delete;
  class AcquireAwaiter : Waiter {
   public:
    AcquireAwaiter(Semaphore& semaphore, uint64_t count) : semaphore_(semaphore), count_(count) {}
    bool await_ready() noexcept { return semaphore_.try_acquire(count_); }
    bool await_suspend(std::coroutine_handle<> self) noexcept;
    void await_resume() const noexcept {}

   private:
    friend class Semaphore;
    Semaphore& semaphore_;
    uint64_t count_;
  };
  /// Awaitable. `count` must not be above what the semaphore can ever hold.
  AcquireAwaiter acquire(uint64_t count = 1) { return AcquireAwaiter(*this, count); }
  bool try_acquire(uint64_t count = 1) noexcept;
  void release(uint64_t count = 1) noexcept;

 private:
  std::mutex guard_;
  uint64_t permits_;
  WaitList waiting_;
};

/// Exclusive ranges of bytes: overlapping ones wait for each other in order of arrival.
class RangeLock {
 public:
  class [[nodiscard]] Guard;
  class LockAwaiter;
  RangeLock() = default;
  RangeLock(const RangeLock&) = delete;
  ~RangeLock();
  /// Awaitable; gives the Guard that unlocks. Empty ranges lock nothing.
  LockAwaiter lock(ByteRange range);
  /// Waits until no range that is held or waiting now overlaps `range`, without taking it.
  /// Ranges that come later are not waited for.
  Task<void> wait_for(ByteRange range);
  /// True when nothing is held: the fast path of those who need not lock.
  bool idle() const noexcept { return held_count_.load(std::memory_order_acquire) == 0; }

 private:
  struct Entry;
  class PassAwaiter;
  void append(Entry& entry) noexcept;
  void remove(Entry& entry) noexcept;
  Waiter* unblock_younger(const Entry& entry) noexcept;
  void release(Entry& entry) noexcept;

  std::mutex guard_;
  std::atomic<size_t> held_count_{0};  // held or waiting
  Entry* oldest_ = nullptr;
  Entry* youngest_ = nullptr;
};

class RangeLock::Guard {
 public:
  Guard() = default;
  Guard(RangeLock& lock, Entry* entry) : lock_(&lock), entry_(entry) {}
  Guard(Guard&& other) noexcept
      : lock_(std::exchange(other.lock_, nullptr)), entry_(std::exchange(other.entry_, nullptr)) {}
  Guard& operator=(Guard&& other) noexcept {
    unlock();
    lock_ = std::exchange(other.lock_, nullptr);
    entry_ = std::exchange(other.entry_, nullptr);
    return *this;
  }
  ~Guard() { unlock(); }
  void unlock() noexcept {
    if (entry_ != nullptr) lock_->release(*std::exchange(entry_, nullptr));
  }

 private:
  RangeLock* lock_ = nullptr;
  Entry* entry_ = nullptr;  // from the lists of coroutine frames
};

class RangeLock::LockAwaiter {
 public:
  LockAwaiter(RangeLock& lock, ByteRange range) : lock_(lock), range_(range) {}
  bool await_ready() const noexcept { return range_.empty(); }
  bool await_suspend(std::coroutine_handle<> self) noexcept;
  Guard await_resume() noexcept { return Guard(lock_, entry_); }

 private:
  RangeLock& lock_;
  ByteRange range_;
  Entry* entry_ = nullptr;
};

inline RangeLock::LockAwaiter RangeLock::lock(ByteRange range) { return LockAwaiter(*this, range); }

}  // namespace ashlar
