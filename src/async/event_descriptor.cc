// Waiting for events and signalling them.
#include "async/event_descriptor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "async/cancel.h"

namespace ashlar {
namespace {

/// Signals that are sent without hearing of their end, one after the other. An event that the other
/// side has filled up holds each of them: so many, and no more.
constexpr unsigned kMostUnheard = 64;

}  // namespace

Result<OwnedDescriptor> create_event() {
  OwnedDescriptor event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return fail(Error::from_errno(errno, "make an event"));
  return event;
}

Result<OwnedDescriptor> duplicate(const OwnedDescriptor& descriptor) {
  OwnedDescriptor second(fcntl(descriptor.get(), F_DUPFD_CLOEXEC, 0));
  if (!second) return fail(Error::from_errno(errno, "duplicate a descriptor"));
  return second;
}

bool is_event(const OwnedDescriptor& descriptor) {
  struct stat facts = {};
  if (fstat(descriptor.get(), &facts) != 0) return false;
  // An eventfd has no type of file at all.
  return (facts.st_mode & S_IFMT) == 0 || S_ISFIFO(facts.st_mode);
}

Task<Result<void>> EventWaiter::wait() {
  while (!interrupted_) {
    IoOperation ready = IoOperation::poll(event_.get(), POLLIN);
    waiting_ = &ready;
    const int64_t events = co_await ready;
    waiting_ = nullptr;
    if (events == -ECANCELED) co_return ok();
    if (events < 0) co_return fail(Error::from_errno(static_cast<int>(-events), "wait for events"));
    uint64_t count = 0;
    iovec vector = {.iov_base = &count, .iov_len = sizeof count};
    // The other side shares the descriptor's flags and its count: never wait here.
    const ssize_t got = preadv2(event_.get(), &vector, 1, -1, RWF_NOWAIT);
    if (got == static_cast<ssize_t>(sizeof count)) co_return ok();
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    co_return fail(Error(ErrorCode::kIo, "an event descriptor is none to wait for")
                       .because("event-descriptor"));
  }
  co_return ok();
}

void EventWaiter::interrupt() noexcept {
  interrupted_ = true;
  if (waiting_ != nullptr) request_cancel(*waiting_);
}

void EventSignaller::signal() {
  if (!event_) return;
  if (unheard_ < kMostUnheard) return signal_unheard();
  again_ = true;
  if (sending_.running() == 0) sending_.spawn(send());
}

void EventSignaller::signal_unheard() noexcept {
  ++unheard_;
  IoOperation operation = IoOperation::signal(event_.get());
  Loop::current().submit(operation);
}

/// Makes sure that those before have arrived: an event that has room holds none of them.
Task<void> EventSignaller::send() {
  while (std::exchange(again_, false)) {
    IoOperation room = IoOperation::poll(event_.get(), POLLOUT);
    on_its_way_ = &room;
    const int64_t result = co_await room;
    on_its_way_ = nullptr;
    if (result < 0) co_return;
    unheard_ = 0;
    signal_unheard();
  }
}

Task<void> EventSignaller::set(OwnedDescriptor event) {
  again_ = false;
  // It may wait for ever, for a reader that does not come.
  if (on_its_way_ != nullptr) request_cancel(*on_its_way_);
  co_await sending_.join();
  co_await yield();  // the loop turns, and with it goes what was submitted
  unheard_ = 0;
  event_ = std::move(event);
}

}  // namespace ashlar
