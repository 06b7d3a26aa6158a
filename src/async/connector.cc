// Connecting sockets: names tried in order, without blocking.
#include "async/connector.h"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>

#include "async/cancel.h"
#include "async/socket_stream.h"

namespace ashlar {
namespace {

// A unix socket whose listener is behind says "try again" and cannot be waited for.
constexpr uint64_t kRetryNs = 5'000'000;
constexpr unsigned kMostRetries = 2000;

/// How a connection that was begun has ended.
int connection_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

int try_connect(int fd, const SocketName& name) {
  return connect(fd, name.get(), name.length) == 0 ? 0 : errno;
}

Result<OwnedDescriptor> adopt_connected(const SocketAddress& address) {
  Result<int> fd = named_descriptor(address);
  if (!fd) return fail(fd.error());
  return OwnedDescriptor(*fd);
}

}  // namespace

Task<int64_t> Connector::await_cancellable(IoOperation& operation) {
  if (cancelled_) co_return -ECANCELED;
  waiting_ = &operation;
  const int64_t result = co_await operation;
  waiting_ = nullptr;
  co_return cancelled_ ? -ECANCELED : result;
}

/// Waits until a connect() that answered `os_error` has ended. Its errno.
Task<int> Connector::finish(int fd, int os_error, const SocketName& name) {
  unsigned retries = 0;
  while (os_error == EAGAIN && retries++ < kMostRetries) {
    IoOperation pause = IoOperation::timer(Loop::current().now_ns() + kRetryNs);
    const int64_t paused = co_await await_cancellable(pause);
    os_error = paused < 0 ? static_cast<int>(-paused) : try_connect(fd, name);
  }
  if (os_error != EINPROGRESS && os_error != EINTR) co_return os_error;
  IoOperation writable = IoOperation::poll(fd, POLLOUT);
  const int64_t events = co_await await_cancellable(writable);
  co_return events < 0 ? static_cast<int>(-events) : connection_error(fd);
}

Task<Result<OwnedDescriptor>> Connector::connect_to(const SocketName& name,
                                                    const SocketAddress& address) {
  OwnedDescriptor socket_descriptor(
      socket(name.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_descriptor) co_return fail(socket_error(errno, SocketUse::kConnect, address));
  const int fd = socket_descriptor.get();
  int ended = try_connect(fd, name);
  if (ended != 0) ended = co_await finish(fd, ended, name);
  if (ended != 0) co_return fail(socket_error(ended, SocketUse::kConnect, address));
  // A loop that waits by itself does so only on sockets that block.
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  co_return std::move(socket_descriptor);
}

Task<Result<std::unique_ptr<Stream>>> Connector::connect(SocketAddress address) {
  if (address.kind == SocketAddress::Kind::kFd) {
    Result<OwnedDescriptor> adopted = adopt_connected(address);
    if (!adopted) co_return fail(adopted.error());
    co_return make_socket_stream(std::move(*adopted), address);
  }
  Result<std::vector<SocketName>> names = co_await resolve_socket(address, SocketUse::kConnect);
  if (!names) co_return fail(names.error());
  Error last = socket_error(ECANCELED, SocketUse::kConnect, address);
  for (const SocketName& name : *names) {
    if (cancelled_) co_return fail(socket_error(ECANCELED, SocketUse::kConnect, address));
    Result<OwnedDescriptor> connected = co_await connect_to(name, address);
    if (connected) co_return make_socket_stream(std::move(*connected), address);
    last = connected.error();
  }
  co_return fail(last);
}

void Connector::cancel() noexcept {
  cancelled_ = true;
  if (waiting_ != nullptr) request_cancel(*waiting_);
}

Task<Result<std::unique_ptr<Stream>>> connect_stream(SocketAddress address) {
  Connector connector;
  co_return co_await connector.connect(std::move(address));
}

}  // namespace ashlar
