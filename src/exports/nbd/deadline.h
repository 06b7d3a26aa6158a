// A time limit: does something unless it is called off before.
#pragma once

#include <functional>
#include <utility>

#include "ashlar/task.h"
#include "async/cancel.h"
#include "async/io_operation.h"
#include "async/sync.h"

namespace ashlar::nbd {

/// On one loop. call_off() is awaited before it goes away.
class Deadline {
 public:
  /// Calls `end` after `duration_ns`. Once.
  void start(uint64_t duration_ns, std::function<void()> end) {
    end_ = std::move(end);
    timer_ = IoOperation::timer(Loop::current().now_ns() + duration_ns);
    waiting_ = true;
    scope_.spawn(watch(*this));
  }
  Task<void> call_off() {
    if (waiting_) request_cancel(timer_);
    co_await scope_.join();
  }
  bool passed() const noexcept { return passed_; }

 private:
  static Task<void> watch(Deadline& self) {
    const int64_t result = co_await self.timer_;
    self.waiting_ = false;
    if (result < 0) co_return;
    self.passed_ = true;
    self.end_();
  }

  std::function<void()> end_;
  Scope scope_;
  IoOperation timer_;
  bool waiting_ = false;
  bool passed_ = false;
};

}  // namespace ashlar::nbd
