// Taking turns: workers that run side by side do one step in a fixed order.
#pragma once

#include <coroutine>
#include <cstdint>
#include <mutex>

#include "async/sync.h"

namespace ashlar {

/// Turns 0, 1, 2 ... Each is waited for once, and passed on once, by whoever holds it.
class Turns {
 public:
  class Awaiter : Waiter {
   public:
    Awaiter(Turns& turns, uint64_t turn) : turns_(turns), turn_(turn) {}
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> self) noexcept {
      prepare(self);
      const std::lock_guard lock(turns_.lock_);
      if (turns_.now_ == turn_) return false;
      // Few wait at a time: a list will do.
      next_ = turns_.waiting_;
      turns_.waiting_ = this;
      return true;
    }
    void await_resume() const noexcept {}

   private:
    friend class Turns;
    Turns& turns_;
    const uint64_t turn_;
    Awaiter* next_ = nullptr;
  };

  /// Awaitable: continues when it is `turn`'s turn.
  Awaiter wait_for(uint64_t turn) { return Awaiter(*this, turn); }

  /// It is the next one's turn.
  void pass() {
    Awaiter* next = nullptr;
    {
      const std::lock_guard lock(lock_);
      ++now_;
      for (Awaiter** link = &waiting_; *link != nullptr; link = &(*link)->next_) {
        if ((*link)->turn_ != now_) continue;
        next = *link;
        *link = next->next_;
        break;
      }
    }
    if (next != nullptr) next->wake();
  }

 private:
  std::mutex lock_;
  uint64_t now_ = 0;
  Awaiter* waiting_ = nullptr;
};

}  // namespace ashlar
