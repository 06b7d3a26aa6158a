// Socket addresses as the kernel takes them.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/socket_address.h"
#include "ashlar/task.h"

namespace ashlar {

/// One address of any family.
struct SocketName {
  sockaddr_storage storage = {};
  socklen_t length = sizeof(sockaddr_storage);

  int family() const noexcept { return storage.ss_family; }
  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  /// Of IPv4 and IPv6; 0 otherwise.
  uint16_t port() const noexcept;
  void set_port(uint16_t port) noexcept;
  /// "127.0.0.1:10809", "[::1]:10809", a path, "vsock 2:10809"; empty when it has no name.
  std::string describe() const;
};

enum class SocketUse : uint8_t { kConnect, kListen };

/// The addresses that `address` (not of kind fd) may mean, the best first; at least one. Looks
/// names up on a worker thread.
/// Errors: kNotFound (reason "socket-lookup" {host, port, the system's words}), kInvalidArgument
/// ("socket-path-long" {path, limit}, "socket-member" {member, value}).
Task<Result<std::vector<SocketName>>> resolve_socket(SocketAddress address, SocketUse use);

/// What the socket `fd` is bound to.
SocketName local_name(int fd);
/// An address of kind inet, unix or vsock from what the kernel says.
SocketAddress address_of(const SocketName& name);

/// The descriptor that an address of kind fd names.
/// Errors: kInvalidArgument ("socket-member" {"fd", value}) when it is no open socket.
Result<int> named_descriptor(const SocketAddress& address);

/// `connect to "localhost:10809": connection refused`, with reason "socket-connect" or
/// "socket-listen" {address, the system's words}.
Error socket_error(int os_error, SocketUse use, const SocketAddress& address);

}  // namespace ashlar
