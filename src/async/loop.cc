// What all loops share: which one runs on this thread, sleeping, yielding.
#include "ashlar/loop.h"

#include <limits>

#include "async/io_operation.h"

namespace ashlar {
namespace {

thread_local Loop* current_loop = nullptr;

}  // namespace

Loop& Loop::current() noexcept {
  assert(current_loop != nullptr);
  return *current_loop;
}

Loop* Loop::current_or_null() noexcept { return current_loop; }

Loop::Entered::Entered(Loop& loop) noexcept : outer_(current_loop) { current_loop = &loop; }

Loop::Entered::~Entered() { current_loop = outer_; }

Task<void> sleep_for(uint64_t duration_ns) {
  if (duration_ns == 0) co_return;
  const uint64_t now = Loop::current().now_ns();
  const uint64_t left = std::numeric_limits<uint64_t>::max() - now;
  IoOperation timer = IoOperation::timer(now + std::min(duration_ns, left));
  co_await timer;
}

void YieldAwaiter::await_suspend(std::coroutine_handle<> self) noexcept {
  self_ = self;
  run = [](Posted& work) noexcept { static_cast<YieldAwaiter&>(work).self_.resume(); };
  Loop::current().post(*this);
}

}  // namespace ashlar
