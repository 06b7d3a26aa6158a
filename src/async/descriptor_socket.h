// Local sockets that carry descriptors along with bytes, as control channels between processes do.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/stream.h"
#include "ashlar/task.h"
#include "async/owned_descriptor.h"

namespace ashlar {

/// A connection. Used from one loop, but for shut_down(); one receive and one send may be in flight
/// together. Nothing may be in flight when it is destroyed; that closes it.
class DescriptorSocket {
 public:
  /// Most descriptors that one call receives; more with the same bytes are an error.
  static constexpr size_t kMostReceived = 16;

  DescriptorSocket() = default;
  explicit DescriptorSocket(OwnedDescriptor socket) noexcept : socket_(std::move(socket)) {}
  /// Two connected ends.
  static Result<std::pair<DescriptorSocket, DescriptorSocket>> pair();
  /// The socket under a stream to which nothing has been read or written yet: a Listener's, or one
  /// of connect_stream(). Errors: kInvalidArgument (reason "socket-kind") when it is no local
  /// socket.
  static Result<DescriptorSocket> under(std::unique_ptr<Stream> stream);

  /// Fills `into`. Descriptors that came with the bytes are appended to `descriptors`.
  /// Errors: kClosed when the other side has closed (reason "socket-closed"), also in the middle;
  /// kInvalidArgument (reason "socket-descriptors") for too many descriptors; kIo.
  Task<Result<void>> receive(std::span<std::byte> into, std::vector<OwnedDescriptor>& descriptors);
  /// Sends all of `from`, and `descriptors` with the first byte. The caller's descriptors stay
  /// open.
  Task<Result<void>> send(std::span<const std::byte> from, std::vector<int> descriptors = {});
  /// Ends what is in flight and all that is to come. From any thread.
  void shut_down() noexcept;

  explicit operator bool() const noexcept { return bool(socket_); }
  const OwnedDescriptor& descriptor() const noexcept { return socket_; }
  OwnedDescriptor release() noexcept { return std::exchange(socket_, OwnedDescriptor()); }

 private:
  OwnedDescriptor socket_;
};

}  // namespace ashlar
