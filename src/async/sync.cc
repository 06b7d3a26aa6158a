// Scope, mutex and semaphore: lists of waiters behind a short lock.
#include "async/sync.h"

#include "async/on_loop.h"

namespace ashlar {

void Waiter::prepare(std::coroutine_handle<> self) noexcept {
  next_waiter = nullptr;
  home = &Loop::current();
  handle = self;
  run = [](Posted& work) noexcept { static_cast<Waiter&>(work).handle.resume(); };
}

void Waiter::wake() noexcept { home->post(*this); }

void Waiter::wake_all(Waiter* chain) noexcept {
  while (chain != nullptr) {
    Waiter* next = chain->next_waiter;
    chain->wake();
    chain = next;
  }
}

void WaitList::push(Waiter& waiter) noexcept {
  waiter.next_waiter = nullptr;
  (tail_ == nullptr ? head_ : tail_->next_waiter) = &waiter;
  tail_ = &waiter;
}

Waiter* WaitList::pop() noexcept {
  Waiter* waiter = head_;
  if (waiter == nullptr) return nullptr;
  head_ = waiter->next_waiter;
  if (head_ == nullptr) tail_ = nullptr;
  return waiter;
}

Waiter* WaitList::take_all() noexcept {
  tail_ = nullptr;
  return std::exchange(head_, nullptr);
}

class Scope::JoinAwaiter : Waiter {
 public:
  explicit JoinAwaiter(Scope& scope) : scope_(scope) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    prepare(self);
    std::lock_guard lock(scope_.guard_);
    if (scope_.running_.load() == 0) return false;
    scope_.joining_.push(*this);
    return true;
  }
  void await_resume() const noexcept {}

 private:
  Scope& scope_;
};

Scope::~Scope() { assert(running_.load() == 0); }

Detached Scope::run(Scope& scope, Task<void> task) {
  co_await task;
  // The frame first: its objects may refer to what the owner destroys after join().
  task = Task<void>();
  scope.finished();
}

void Scope::spawn(Task<void> task) {
  running_.fetch_add(1);
  run(*this, std::move(task));
}

void Scope::finished() noexcept {
  Waiter* joined = nullptr;
  {
    // The count falls under the lock: who reads 0 under it may destroy this scope.
    std::lock_guard lock(guard_);
    if (running_.fetch_sub(1) == 1) joined = joining_.take_all();
  }
  Waiter::wake_all(joined);
}

Task<void> Scope::join() {
  JoinAwaiter all_finished(*this);
  co_await all_finished;
}

bool Mutex::try_acquire() noexcept {
  std::lock_guard lock(guard_);
  return !std::exchange(held_, true);
}

bool Mutex::LockAwaiter::await_suspend(std::coroutine_handle<> self) noexcept {
  prepare(self);
  std::lock_guard lock(mutex_.guard_);
  if (!std::exchange(mutex_.held_, true)) return false;
  mutex_.waiting_.push(*this);
  return true;
}

void Mutex::release() noexcept {
  Waiter* next = nullptr;
  {
    std::lock_guard lock(guard_);
    next = waiting_.pop();
    held_ = next != nullptr;  // handed over, so that nobody gets in between
  }
  if (next != nullptr) next->wake();
}

bool Semaphore::try_acquire(uint64_t count) noexcept {
  std::lock_guard lock(guard_);
  if (!waiting_.empty() || permits_ < count) return false;
  permits_ -= count;
  return true;
}

bool Semaphore::AcquireAwaiter::await_suspend(std::coroutine_handle<> self) noexcept {
  prepare(self);
  std::lock_guard lock(semaphore_.guard_);
  if (semaphore_.waiting_.empty() && semaphore_.permits_ >= count_) {
    semaphore_.permits_ -= count_;
    return false;
  }
  semaphore_.waiting_.push(*this);
  return true;
}

void Semaphore::release(uint64_t count) noexcept {
  WaitList served;
  {
    std::lock_guard lock(guard_);
    permits_ += count;
    while (!waiting_.empty()) {
      const uint64_t wanted = static_cast<AcquireAwaiter*>(waiting_.front())->count_;
      if (permits_ < wanted) break;
      permits_ -= wanted;
      served.push(*waiting_.pop());
    }
  }
  Waiter::wake_all(served.take_all());
}

}  // namespace ashlar
