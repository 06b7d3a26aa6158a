// The gate: entering, closing, opening.
#include "async/epoch.h"

namespace ashlar {

Gate::~Gate() { assert(waiting() == 0 && inside() == 0); }

std::optional<Gate::Pass> Gate::try_enter() noexcept {
  const unsigned index = Loop::current().index();
  std::atomic<uint64_t>& state = slots_[index].state;
  uint64_t seen = state.load(std::memory_order_relaxed);
  do {
    // Never counted when closed, so that a closed slot empties once and for all.
    if ((seen & kClosed) != 0) return std::nullopt;
  } while (!state.compare_exchange_weak(seen, seen + kOneInside));
  return Pass(*this, index);
}

void Gate::exit(unsigned slot) noexcept {
  if (slots_[slot].state.fetch_sub(kOneInside) != (kOneInside | kClosed)) return;
  Waiter* closed = nullptr;
  {
    std::lock_guard lock(guard_);
    if (--occupied_ == 0) closed = closing_.take_all();
  }
  Waiter::wake_all(closed);
}

class Gate::EnterAwaiter : Waiter {
 public:
  explicit EnterAwaiter(Gate& gate) : gate_(gate) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    prepare(self);
    std::lock_guard lock(gate_.guard_);
    if (gate_.closers_.load() != 0) {
      gate_.entering_.push(*this);
      gate_.waiting_count_.fetch_add(1);
      return true;
    }
    gate_.slots_[home->index()].state.fetch_add(kOneInside);
    return false;
  }
  Pass await_resume() noexcept { return Pass(gate_, home->index()); }

 private:
  Gate& gate_;
};

Task<Gate::Pass> Gate::enter() {
  if (std::optional<Pass> pass = try_enter()) co_return std::move(*pass);
  EnterAwaiter opened(*this);
  co_return co_await opened;
}

class Gate::CloseAwaiter : Waiter {
 public:
  explicit CloseAwaiter(Gate& gate) : gate_(gate) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    prepare(self);
    std::lock_guard lock(gate_.guard_);
    if (gate_.closers_.fetch_add(1) == 0) {
      for (Slot& slot : gate_.slots_) {
        if (slot.state.fetch_or(kClosed) != 0) ++gate_.occupied_;
      }
    }
    if (gate_.occupied_ == 0) return false;
    gate_.closing_.push(*this);
    return true;
  }
  void await_resume() const noexcept {}

 private:
  Gate& gate_;
};

Task<void> Gate::close() {
  CloseAwaiter empty(*this);
  co_await empty;
}

void Gate::open() noexcept {
  Waiter* entered = nullptr;
  {
    std::lock_guard lock(guard_);
    assert(closers_.load() != 0);
    if (closers_.fetch_sub(1) != 1) return;
    assert(occupied_ == 0);
    entered = entering_.take_all();
    size_t count = 0;
    for (Waiter* waiter = entered; waiter != nullptr; waiter = waiter->next_waiter, ++count) {
      slots_[waiter->home->index()].state.fetch_add(kOneInside);
    }
    waiting_count_.fetch_sub(count);
    for (Slot& slot : slots_) slot.state.fetch_and(~kClosed);
  }
  Waiter::wake_all(entered);
}

uint64_t Gate::inside() const noexcept {
  uint64_t sum = 0;
  for (const Slot& slot : slots_) sum += slot.state.load() / kOneInside;
  return sum;
}

}  // namespace ashlar
