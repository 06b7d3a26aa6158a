// Names of hosts, ports, paths and machines as kernel addresses, and back.
#include "async/socket_name.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/vm_sockets.h>  // needs the types of <sys/socket.h> first
#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

#include "async/on_loop.h"

namespace ashlar {
namespace {

Error bad_member(std::string_view member, const std::string& value, std::string_view wanted) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("socket address: \"{}\" wants {}, not \"{}\"", member, wanted, value))
      .because("socket-member", {std::string(member), value});
}

std::optional<uint32_t> whole_number(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

int wanted_family(const SocketAddress& address) {
  // Who wants one of them, or the other one not, gets one; who wants both gets both.
  const bool only_ipv4 = (address.ipv4 == true && address.ipv6 != true) || address.ipv6 == false;
  const bool only_ipv6 = (address.ipv6 == true && address.ipv4 != true) || address.ipv4 == false;
  return only_ipv4 ? AF_INET : only_ipv6 ? AF_INET6 : AF_UNSPEC;
}

/// What getaddrinfo() answers.
struct Lookup {
  int status = 0;
  int os_error = 0;
  std::vector<SocketName> names;
};

/// Blocks as long as name servers do, unless `extra_flags` has AI_NUMERICHOST.
Lookup look_up(const SocketAddress& address, SocketUse use, int extra_flags) {
  addrinfo hints = {};
  hints.ai_flags = extra_flags | (use == SocketUse::kListen ? AI_PASSIVE : 0);
  hints.ai_family = wanted_family(address);
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  Lookup found;
  found.status = getaddrinfo(address.host.empty() ? nullptr : address.host.c_str(),
                             address.port.c_str(), &hints, &list);
  found.os_error = errno;
  if (found.status != 0) return found;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    if (one->ai_addrlen > sizeof(sockaddr_storage)) continue;
    SocketName name;
    std::memcpy(&name.storage, one->ai_addr, one->ai_addrlen);
    name.length = one->ai_addrlen;
    found.names.push_back(name);
  }
  return found;
}

Task<Result<std::vector<SocketName>>> resolve_inet(SocketAddress address, SocketUse use) {
  const std::optional<uint32_t> number = whole_number(address.port);
  if (number && *number > 65535) {
    co_return fail(bad_member("port", address.port, "a port up to 65535"));
  }
  // Numbers need no thread.
  Lookup found = look_up(address, use, AI_NUMERICHOST | AI_NUMERICSERV);
  if (found.status != 0) {
    const int flags = address.numeric ? AI_NUMERICHOST : 0;
    auto look = [&address, use, flags] { return look_up(address, use, flags); };
    OnWorker<decltype(look)> looking(look);
    found = co_await looking;
  }
  if (found.status == 0 && !found.names.empty()) co_return std::move(found.names);
  const std::string why = found.status == EAI_SYSTEM
                              ? Error::from_errno(found.os_error, "").message()
                              : gai_strerror(found.status);
  co_return fail(
      Error(ErrorCode::kNotFound, fmt::format("look up \"{}\": {}", address.describe(), why))
          .because("socket-lookup", {address.host, address.port, why}));
}

Result<SocketName> unix_name(const SocketAddress& address) {
  SocketName name;
  auto& local = reinterpret_cast<sockaddr_un&>(name.storage);
  local.sun_family = AF_UNIX;
  // Behind a path stands a zero byte, before an abstract name too.
  const size_t limit = sizeof local.sun_path - 1;
  if (address.path.size() > limit) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("path of socket \"{}\" has {} bytes, at most {} are allowed",
                                  address.path, address.path.size(), limit))
                    .because("socket-path-long", {address.path, std::to_string(limit)}));
  }
  if (address.path.empty()) return fail(bad_member("path", "", "a path"));
  char* to = local.sun_path + (address.is_abstract ? 1 : 0);
  std::ranges::copy(address.path, to);  // the zero byte behind it is there already
  const bool whole = address.is_abstract && !address.tight;
  name.length =
      whole ? sizeof local
            : static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + address.path.size());
  return name;
}

Result<SocketName> vsock_name(const SocketAddress& address, SocketUse use) {
  SocketName name;
  auto& machine = reinterpret_cast<sockaddr_vm&>(name.storage);
  machine.svm_family = AF_VSOCK;
  const std::optional<uint32_t> cid =
      address.cid == "any" ? std::optional<uint32_t>(VMADDR_CID_ANY) : whole_number(address.cid);
  if (!cid) return fail(bad_member("cid", address.cid, "a number below 2^32"));
  const std::optional<uint32_t> port = whole_number(address.port);
  if (!port) return fail(bad_member("port", address.port, "a number below 2^32"));
  machine.svm_cid = *cid;
  machine.svm_port = use == SocketUse::kListen && *port == 0 ? VMADDR_PORT_ANY : *port;
  name.length = sizeof machine;
  return name;
}

std::string host_of(const SocketName& name) {
  char text[INET6_ADDRSTRLEN] = {};
  if (name.family() == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(name.storage).sin_addr, text,
              sizeof text);
  } else {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(name.storage).sin6_addr, text,
              sizeof text);
  }
  return text;
}

}  // namespace

uint16_t SocketName::port() const noexcept {
  if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
  if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
  return 0;
}

void SocketName::set_port(uint16_t port) noexcept {
  if (family() == AF_INET) reinterpret_cast<sockaddr_in&>(storage).sin_port = htons(port);
  if (family() == AF_INET6) reinterpret_cast<sockaddr_in6&>(storage).sin6_port = htons(port);
}

std::string SocketName::describe() const {
  const SocketAddress address = address_of(*this);
  const bool unnamed = address.kind == SocketAddress::Kind::kUnix && address.path.empty();
  return unnamed ? std::string() : address.describe();
}

SocketAddress address_of(const SocketName& name) {
  if (name.family() == AF_INET || name.family() == AF_INET6) {
    return SocketAddress::inet(host_of(name), std::to_string(name.port()));
  }
  SocketAddress address;
  if (name.family() == AF_VSOCK) {
    const auto& machine = reinterpret_cast<const sockaddr_vm&>(name.storage);
    address.kind = SocketAddress::Kind::kVsock;
    address.cid = std::to_string(machine.svm_cid);
    address.port = std::to_string(machine.svm_port);
    return address;
  }
  const auto& local = reinterpret_cast<const sockaddr_un&>(name.storage);
  const size_t before = offsetof(sockaddr_un, sun_path);
  if (name.family() != AF_UNIX || name.length <= before) return address;
  const size_t length = name.length - before;
  address.is_abstract = local.sun_path[0] == '\0';
  address.path = address.is_abstract ? std::string(local.sun_path + 1, length - 1)
                                     : std::string(local.sun_path, strnlen(local.sun_path, length));
  return address;
}

SocketName local_name(int fd) {
  SocketName name;
  if (getsockname(fd, name.get(), &name.length) != 0) name.length = 0;
  return name;
}

Task<Result<std::vector<SocketName>>> resolve_socket(SocketAddress address, SocketUse use) {
  if (address.kind == SocketAddress::Kind::kInet) {
    co_return co_await resolve_inet(std::move(address), use);
  }
  Result<SocketName> name =
      address.kind == SocketAddress::Kind::kUnix ? unix_name(address) : vsock_name(address, use);
  if (!name) co_return fail(name.error());
  std::vector<SocketName> names;
  names.push_back(*name);
  co_return std::move(names);
}

Result<int> named_descriptor(const SocketAddress& address) {
  const std::optional<uint32_t> number = whole_number(address.fd);
  struct stat facts = {};
  const bool is_socket = number && *number <= INT32_MAX &&
                         fstat(static_cast<int>(*number), &facts) == 0 && S_ISSOCK(facts.st_mode);
  if (!is_socket) return fail(bad_member("fd", address.fd, "the number of an open socket"));
  const int fd = static_cast<int>(*number);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
}

Error socket_error(int os_error, SocketUse use, const SocketAddress& address) {
  const bool listening = use == SocketUse::kListen;
  const std::string why = Error::from_errno(os_error, "").message();
  const std::string doing =
      fmt::format("{} \"{}\"", listening ? "listen on" : "connect to", address.describe());
  return Error::from_errno(os_error, doing)
      .because(listening ? "socket-listen" : "socket-connect", {address.describe(), why});
}

}  // namespace ashlar
