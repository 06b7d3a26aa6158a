// A cancel operation that nobody awaits.
#include "async/cancel.h"

#include "async/on_loop.h"

namespace ashlar {
namespace {

Detached cancel_soon(IoOperation& target) {
  IoOperation cancelling = IoOperation::cancel(target);
  co_await cancelling;
}

}  // namespace

void request_cancel(IoOperation& target) noexcept { cancel_soon(target); }

}  // namespace ashlar
