// Local sockets: descriptors in control messages.
#include "async/descriptor_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "async/io_operation.h"
#include "async/socket_name.h"
#include "async/socket_stream.h"

namespace ashlar {
namespace {

/// Room for the control message of one call.
class ControlRoom {
 public:
  ControlRoom() = default;

  msghdr message(iovec& vector) {
    msghdr header = {};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    return header;
  }
  void to_receive(msghdr& header) {
    header.msg_control = bytes_.data();
    header.msg_controllen = bytes_.size();
  }
  void to_send(msghdr& header, std::span<const int> descriptors) {
    if (descriptors.empty()) return;
    more_.resize(CMSG_SPACE(descriptors.size_bytes()));
    header.msg_control = more_.data();
    header.msg_controllen = more_.size();
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(control), descriptors.data(), descriptors.size_bytes());
  }
  /// Takes what came. False when there was more than room.
  static bool take(msghdr& header, std::vector<OwnedDescriptor>& into) {
    for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
         control = CMSG_NXTHDR(&header, control)) {
      if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t index = 0; index < count; ++index) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(control) + index * sizeof fd, sizeof fd);
        into.emplace_back(fd);
      }
    }
    return (header.msg_flags & MSG_CTRUNC) == 0;
  }

 private:
  alignas(cmsghdr)
      std::array<std::byte, CMSG_SPACE(sizeof(int) * DescriptorSocket::kMostReceived)> bytes_;
  std::vector<std::byte> more_;
};

}  // namespace

Result<std::pair<DescriptorSocket, DescriptorSocket>> DescriptorSocket::pair() {
  std::array<int, 2> ends = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail(Error::from_errno(errno, "make a pair of sockets"));
  }
  return std::pair(DescriptorSocket(OwnedDescriptor(ends[0])),
                   DescriptorSocket(OwnedDescriptor(ends[1])));
}

Result<DescriptorSocket> DescriptorSocket::under(std::unique_ptr<Stream> stream) {
  OwnedDescriptor socket = take_socket(std::move(stream));
  if (!socket || local_name(socket.get()).family() != AF_UNIX) {
    return fail(Error(ErrorCode::kInvalidArgument, "only local sockets carry descriptors")
                    .because("socket-kind"));
  }
  return DescriptorSocket(std::move(socket));
}

Task<Result<void>> DescriptorSocket::receive(std::span<std::byte> into,
                                             std::vector<OwnedDescriptor>& descriptors) {
  ControlRoom control;
  while (!into.empty()) {
    iovec vector = {.iov_base = into.data(), .iov_len = into.size()};
    msghdr message = control.message(vector);
    control.to_receive(message);
    const int64_t got = co_await IoOperation::receive(socket_.get(), message, MSG_CMSG_CLOEXEC);
    if (got > 0 && !ControlRoom::take(message, descriptors)) {
      co_return fail(Error(ErrorCode::kInvalidArgument,
                           fmt::format("more than {} descriptors came at once", kMostReceived))
                         .because("socket-descriptors"));
    }
    if (got == 0 || got == -ECONNRESET || got == -ECANCELED) {
      co_return fail(
          Error(ErrorCode::kClosed, "the connection is closed").because("socket-closed"));
    }
    if (got < 0) co_return fail(Error::from_errno(static_cast<int>(-got), "receive"));
    into = into.subspan(static_cast<size_t>(got));
  }
  co_return ok();
}

Task<Result<void>> DescriptorSocket::send(std::span<const std::byte> from,
                                          std::vector<int> descriptors) {
  ControlRoom control;
  while (!from.empty()) {
    iovec vector = {.iov_base = const_cast<std::byte*>(from.data()), .iov_len = from.size()};
    msghdr message = control.message(vector);
    control.to_send(message, descriptors);
    const int64_t sent = co_await IoOperation::send(socket_.get(), message);
    if (sent < 0) {
      const ErrorCode code =
          sent == -EPIPE || sent == -ECONNRESET ? ErrorCode::kClosed : ErrorCode::kIo;
      co_return fail(Error(code, fmt::format("send: error {}", -sent)).because("socket-send"));
    }
    descriptors.clear();
    from = from.subspan(static_cast<size_t>(sent));
  }
  co_return ok();
}

void DescriptorSocket::shut_down() noexcept {
  if (socket_) (void)::shutdown(socket_.get(), SHUT_RDWR);
}

}  // namespace ashlar
