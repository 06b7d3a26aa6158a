// The engine without a ring: which calls block on the pool, which ones wait in poll().
#include "async/thread_engine.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <utility>

namespace ashlar {
namespace {

using Kind = IoOperation::Kind;

bool waits_for_descriptor(Kind kind) {
  return kind == Kind::kPoll || kind == Kind::kAccept || kind == Kind::kReceive ||
         kind == Kind::kSend;
}

short readiness_for(const IoOperation& operation) {
  if (operation.kind == Kind::kPoll) return static_cast<short>(operation.flags);
  return operation.kind == Kind::kSend ? POLLOUT : POLLIN;
}

/// The ready events, 0, or -errno.
int64_t poll_now(int fd, short events, int timeout_ms) {
  pollfd one = {.fd = fd, .events = events, .revents = 0};
  const int count = poll(&one, 1, timeout_ms);
  return count < 0 ? -errno : count == 0 ? 0 : one.revents;
}

int64_t connect_blocking(const IoOperation& operation) {
  const auto* address = static_cast<const sockaddr*>(operation.message->msg_name);
  if (connect(operation.fd, address, operation.message->msg_namelen) == 0) return 0;
  if (errno != EINPROGRESS && errno != EINTR) return -errno;
  // A non-blocking socket, or interrupted: it goes on connecting; its error says how it ended.
  while (poll_now(operation.fd, POLLOUT, -1) == -EINTR) {
  }
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(operation.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return -errno;
  return -error;
}

int64_t call_blocking(const IoOperation& operation) {
  const auto offset = static_cast<off_t>(operation.offset);
  const int count = static_cast<int>(operation.count);
  switch (operation.kind) {
    case Kind::kRead:
      return preadv2(operation.fd, operation.vectors, count, offset, operation.flags);
    case Kind::kWrite:
      return pwritev2(operation.fd, operation.vectors, count, offset, operation.flags);
    case Kind::kDataSync:
      return fdatasync(operation.fd);
    case Kind::kAllocate:
      return fallocate(operation.fd, operation.flags, offset, static_cast<off_t>(operation.length));
    default:
      std::unreachable();
  }
}

/// One try that does not wait: the result, or -EAGAIN.
int64_t try_at_once(IoOperation& operation) {
  int64_t result = 0;
  switch (operation.kind) {
    case Kind::kPoll:
      result = poll_now(operation.fd, readiness_for(operation), 0);
      return result == 0 ? -EAGAIN : result;
    case Kind::kAccept: {
      // Between poll() and accept() another process may take the connection.
      const int flags = fcntl(operation.fd, F_GETFL);
      if (flags >= 0 && (flags & O_NONBLOCK) == 0) fcntl(operation.fd, F_SETFL, flags | O_NONBLOCK);
      result = accept4(operation.fd, nullptr, nullptr, SOCK_CLOEXEC);
      break;
    }
    case Kind::kReceive:
      result = recvmsg(operation.fd, operation.message, operation.flags | MSG_DONTWAIT);
      break;
    case Kind::kSend:
      result =
          sendmsg(operation.fd, operation.message, operation.flags | MSG_DONTWAIT | MSG_NOSIGNAL);
      break;
    default:
      std::unreachable();
  }
  if (result >= 0) return result;
  return errno == EINTR ? -EAGAIN : -errno;
}

/// A full event needs no signal: whoever looks at it sees that there was one.
void signal_now(int fd) {
  constexpr uint64_t kOne = 1;
  if (poll_now(fd, POLLOUT, 0) <= 0) return;
  [[maybe_unused]] const ssize_t wrote = write(fd, &kOne, sizeof kOne);
}

}  // namespace

void ThreadEngine::run_on_pool(Posted& work) noexcept {
  auto& operation = static_cast<IoOperation&>(work);
  if (operation.kind == Kind::kConnect) {
    operation.result = connect_blocking(operation);
  } else {
    do {
      operation.result = call_blocking(operation);
      if (operation.result < 0) operation.result = -errno;
    } while (operation.result == -EINTR);
  }
  operation.run = end_on_loop;
  static_cast<ThreadEngine*>(operation.engine)->loop_.post(operation);
}

void ThreadEngine::end_on_loop(Posted& work) noexcept {
  auto& operation = static_cast<IoOperation&>(work);
  --static_cast<ThreadEngine*>(operation.engine)->in_flight_;
  IoOperation::resume_waiter(work);
}

void ThreadEngine::submit(IoOperation& operation) noexcept {
  if (operation.kind == Kind::kSignal) return signal_now(operation.fd);
  operation.engine = this;
  ++in_flight_;
  if (operation.kind == Kind::kCancel) {
    cancel(operation);
  } else if (waits_for_descriptor(operation.kind)) {
    waiting_.push_back(&operation);
    operation.polling = false;  // not tried yet
  } else {
    operation.run = run_on_pool;
    pool_.run(operation);
  }
}

void ThreadEngine::cancel(IoOperation& operation) noexcept {
  operation.result = -ENOENT;
  if (std::erase(waiting_, operation.target) != 0) {
    operation.target->result = -ECANCELED;
    ended_.push(*operation.target);
    operation.result = 0;
  }
  ended_.push(operation);
}

void ThreadEngine::cancel_all() noexcept {
  for (IoOperation* operation : waiting_) {
    operation->result = -ECANCELED;
    ended_.push(*operation);
  }
  waiting_.clear();
}

/// Tries what is new, and what polled_ says is ready.
void ThreadEngine::try_waiting() noexcept {
  size_t at = 0;
  std::erase_if(waiting_, [&](IoOperation* operation) {
    const bool ready = at < polled_.size() && polled_[at].revents != 0;
    ++at;
    if (operation->polling && !ready) return false;
    operation->polling = true;
    operation->result = try_at_once(*operation);
    const bool may_wait = (operation->flags & MSG_DONTWAIT) == 0 || operation->message == nullptr;
    if (operation->result == -EAGAIN && may_wait) return false;
    ended_.push(*operation);
    return true;
  });
}

void ThreadEngine::turn(uint64_t timeout_ns, PostedQueue& finished) noexcept {
  polled_.clear();
  try_waiting();
  if (!ended_.empty()) timeout_ns = 0;
  for (const IoOperation* operation : waiting_) {
    polled_.push_back({.fd = operation->fd, .events = readiness_for(*operation), .revents = 0});
  }
  if (!waiting_.empty() || timeout_ns != 0) {
    polled_.push_back({.fd = wake_.fd(), .events = POLLIN, .revents = 0});
    constexpr uint64_t kSecond = 1'000'000'000;
    const timespec timeout = {.tv_sec = static_cast<time_t>(timeout_ns / kSecond),
                              .tv_nsec = static_cast<long>(timeout_ns % kSecond)};
    const int count =
        ppoll(polled_.data(), polled_.size(), timeout_ns == kForever ? nullptr : &timeout, nullptr);
    if (count > 0) {
      if (polled_.back().revents != 0) wake_.clear();
      polled_.pop_back();
      try_waiting();
    }
  }
  while (Posted* work = ended_.pop()) {
    --in_flight_;
    finished.push(*work);
  }
}

}  // namespace ashlar
