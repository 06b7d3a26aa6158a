// A wait that somebody else can end early.
#pragma once

#include <cstdint>

#include "async/cancel.h"
#include "async/io_operation.h"

namespace ashlar::nbd::client {

/// One loop, one wait at a time.
class Pause {
 public:
  /// Returns after `duration_ns`, or when cancel() is or was called.
  Task<void> wait(uint64_t duration_ns) {
    if (cancelled_) co_return;
    IoOperation timer = IoOperation::timer(Loop::current().now_ns() + duration_ns);
    waiting_ = &timer;
    co_await timer;
    waiting_ = nullptr;
  }
  void cancel() noexcept {
    cancelled_ = true;
    if (waiting_ != nullptr) request_cancel(*waiting_);
  }
  bool cancelled() const noexcept { return cancelled_; }

 private:
  IoOperation* waiting_ = nullptr;
  bool cancelled_ = false;
};

}  // namespace ashlar::nbd::client
