// Reading and writing sockets with few system calls.
#include "async/socket_stream.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>

#include "async/io_operation.h"
#include "async/io_vectors.h"

namespace ashlar {
namespace {

msghdr message_of(const IoVectors& vectors) {
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(vectors.data());  // the kernel's type has no const
  message.msg_iovlen = vectors.count();
  return message;
}

class SocketStream final : public Stream {
 public:
  SocketStream(OwnedDescriptor socket, std::string peer)
      : socket_(std::move(socket)), peer_(std::move(peer)) {}

  Task<Result<size_t>> read_some(MutableBuffers into) override {
    if (ended_) co_return fail(closed());
    IoVectors vectors;
    vectors.fill(into);
    msghdr message = message_of(vectors);
    int64_t got = -EAGAIN;
    // What filled the buffers last time has probably left something: ask for it at once. An empty
    // socket would cost a call for nothing, while the loop waits and receives in one.
    if (more_expected_) got = receive_at_once(message);
    if (got == -EAGAIN) got = co_await IoOperation::receive(socket_.get(), message);
    if (ended_) co_return fail(closed());
    if (got < 0) co_return fail(failure(static_cast<int>(-got), "receive from"));
    more_expected_ = static_cast<uint64_t>(got) == vectors.length();
    co_return static_cast<size_t>(got);
  }

  Task<Result<void>> write_all(ConstBuffers from) override {
    IoVectors vectors;
    while (!from.empty()) {
      if (ended_) co_return fail(closed());
      vectors.fill(from);
      msghdr message = message_of(vectors);
      // A socket has room nearly always, and then this is the only call.
      int64_t sent = send_at_once(message);
      if (sent == -EAGAIN) sent = co_await IoOperation::send(socket_.get(), message);
      if (ended_) co_return fail(closed());
      if (sent < 0) co_return fail(failure(static_cast<int>(-sent), "send to"));
      from.remove_front(static_cast<size_t>(sent));
    }
    co_return ok();
  }

  void shut_down() noexcept override {
    if (std::exchange(ended_, true)) return;
    shutdown(socket_.get(), SHUT_RDWR);  // ends what waits on it
  }

  std::string peer() const override { return peer_; }

  OwnedDescriptor release() noexcept { return std::exchange(socket_, OwnedDescriptor()); }

 private:
  int64_t receive_at_once(msghdr& message) const {
    const ssize_t got = recvmsg(socket_.get(), &message, MSG_DONTWAIT);
    return got >= 0 ? got : errno == EINTR ? -EAGAIN : -errno;
  }
  int64_t send_at_once(const msghdr& message) const {
    const ssize_t sent = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent >= 0 ? sent : errno == EINTR ? -EAGAIN : -errno;
  }
  Error closed() const {
    return Error(ErrorCode::kClosed, fmt::format("connection to \"{}\" was shut down", peer_));
  }
  Error failure(int os_error, std::string_view doing) const {
    return Error::from_errno(os_error, fmt::format("{} \"{}\"", doing, peer_));
  }

  OwnedDescriptor socket_;
  const std::string peer_;
  bool more_expected_ = false;
  bool ended_ = false;
};

void set_option(int fd, int level, int option) {
  const int on = 1;
  setsockopt(fd, level, option, &on, sizeof on);
}

}  // namespace

std::unique_ptr<Stream> make_socket_stream(OwnedDescriptor socket, const SocketAddress& address) {
  SocketName peer;
  if (getpeername(socket.get(), peer.get(), &peer.length) != 0) peer.length = 0;
  if (peer.length != 0 && (peer.family() == AF_INET || peer.family() == AF_INET6)) {
    set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY);  // replies are short and waited for
    if (address.keep_alive) set_option(socket.get(), SOL_SOCKET, SO_KEEPALIVE);
  }
  std::string name = peer.length == 0 ? std::string() : peer.describe();
  if (name.empty()) name = address.describe();
  return std::make_unique<SocketStream>(std::move(socket), std::move(name));
}

OwnedDescriptor take_socket(std::unique_ptr<Stream> stream) {
  auto* plain = dynamic_cast<SocketStream*>(stream.get());
  return plain == nullptr ? OwnedDescriptor() : plain->release();
}

}  // namespace ashlar
