// Socket addresses from options, and as messages name them.
#include "ashlar/socket_address.h"

#include <fmt/format.h>

#include <array>

namespace ashlar {
namespace {

constexpr uint64_t kHighestPort = 65535;

struct InetMembers {
  std::optional<std::string> host, port;
  std::optional<uint64_t> to;
  std::optional<bool> ipv4, ipv6;
  bool numeric = false;
  bool keep_alive = false;
  static constexpr auto table() {
    return std::array{
        option("host", &InetMembers::host, "name or number of the host"),
        option("port", &InetMembers::port, "number or name of the port"),
        number_option("to", &InetMembers::to, "last port to try, when listening"),
        option("ipv4", &InetMembers::ipv4, "whether IPv4 may be used"),
        option("ipv6", &InetMembers::ipv6, "whether IPv6 may be used"),
        option("numeric", &InetMembers::numeric, "look no names up"),
        option("keep-alive", &InetMembers::keep_alive, "probe idle connections"),
    };
  }
};

struct UnixMembers {
  std::optional<std::string> path;
  bool is_abstract = false;
  bool tight = true;
  static constexpr auto table() {
    return std::array{
        option("path", &UnixMembers::path, "path of the socket"),
        option("abstract", &UnixMembers::is_abstract, "in the abstract name space"),
        option("tight", &UnixMembers::tight, "the abstract name is not padded"),
    };
  }
};

struct VsockMembers {
  std::optional<std::string> cid, port;
  static constexpr auto table() {
    return std::array{
        option("cid", &VsockMembers::cid, "number of the machine"),
        option("port", &VsockMembers::port, "number of the port"),
    };
  }
};

struct FdMembers {
  std::optional<std::string> str;
  static constexpr auto table() {
    return std::array{option("str", &FdMembers::str, "number of an open descriptor")};
  }
};

Error missing(std::string_view member) {
  return Error(ErrorCode::kInvalidArgument, fmt::format("socket address needs \"{}\"", member))
      .because("option-missing", {std::string(member)});
}

Error bad_member(std::string_view member, std::string_view value, std::string_view wanted) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("socket address: \"{}\" wants {}, not \"{}\"", member, wanted, value))
      .because("socket-member", {std::string(member), std::string(value)});
}

/// The members of one type; an error of a single option becomes one of the address.
template <typename Members>
Result<Members> take_members(OptionDict& dict) {
  Result<Members> members = take_options<Members>(dict);
  if (members) return members;
  const std::span<const std::string> values = members.error().values();
  const std::string member = values.empty() ? std::string() : values[0];
  const std::string value = values.size() < 2 ? std::string() : values[1];
  return fail(members.error().within("socket address").because("socket-member", {member, value}));
}

Result<SocketAddress> take_inet(OptionDict& dict) {
  Result<InetMembers> members = take_members<InetMembers>(dict);
  if (!members) return fail(members.error());
  if (!members->host) return fail(missing("host"));
  if (!members->port) return fail(missing("port"));
  if (members->to && *members->to > kHighestPort) {
    return fail(bad_member("to", std::to_string(*members->to), "a port up to 65535"));
  }
  SocketAddress address = SocketAddress::inet(*members->host, *members->port);
  address.to = members->to;
  address.ipv4 = members->ipv4;
  address.ipv6 = members->ipv6;
  if (address.ipv4 == false && address.ipv6 == false) {
    return fail(bad_member("ipv6", "off", "to be on when \"ipv4\" is off"));
  }
  address.numeric = members->numeric;
  address.keep_alive = members->keep_alive;
  return address;
}

Result<SocketAddress> take_unix(OptionDict& dict) {
  Result<UnixMembers> members = take_members<UnixMembers>(dict);
  if (!members) return fail(members.error());
  if (!members->path) return fail(missing("path"));
  SocketAddress address = SocketAddress::unix_socket(*members->path);
  address.is_abstract = members->is_abstract;
  address.tight = members->tight;
  return address;
}

Result<SocketAddress> take_vsock(OptionDict& dict) {
  Result<VsockMembers> members = take_members<VsockMembers>(dict);
  if (!members) return fail(members.error());
  if (!members->cid) return fail(missing("cid"));
  if (!members->port) return fail(missing("port"));
  SocketAddress address;
  address.kind = SocketAddress::Kind::kVsock;
  address.cid = *members->cid;
  address.port = *members->port;
  return address;
}

Result<SocketAddress> take_fd(OptionDict& dict) {
  Result<FdMembers> members = take_members<FdMembers>(dict);
  if (!members) return fail(members.error());
  if (!members->str) return fail(missing("str"));
  SocketAddress address;
  address.kind = SocketAddress::Kind::kFd;
  address.fd = *members->str;
  return address;
}

Result<SocketAddress> take_of_type(std::string_view type, OptionDict& dict) {
  if (type == "inet") return take_inet(dict);
  if (type == "unix") return take_unix(dict);
  if (type == "vsock") return take_vsock(dict);
  if (type == "fd") return take_fd(dict);
  return fail(
      Error(ErrorCode::kInvalidArgument,
            fmt::format("socket address: \"type\" wants inet, unix, vsock or fd, not \"{}\"", type))
          .because("socket-type", {std::string(type)}));
}

}  // namespace

Result<SocketAddress> SocketAddress::take(OptionDict& dict) {
  const std::optional<std::string> type = dict.take_text("type");
  if (!type) return fail(missing("type"));
  if (!dict.has_subtree("data")) return take_of_type(*type, dict);
  OptionDict data = dict.take_subtree("data");
  Result<SocketAddress> address = take_of_type(*type, data);
  dict.add_subtree("data", data);  // what nobody knows is for the caller to complain about
  return address;
}

SocketAddress SocketAddress::unix_socket(std::string path) {
  SocketAddress address;
  address.kind = Kind::kUnix;
  address.path = std::move(path);
  return address;
}

SocketAddress SocketAddress::inet(std::string host, std::string port) {
  SocketAddress address;
  address.kind = Kind::kInet;
  address.host = std::move(host);
  address.port = std::move(port);
  return address;
}

std::string SocketAddress::describe() const {
  switch (kind) {
    case Kind::kInet:
      return host.find(':') == std::string::npos ? host + ":" + port : "[" + host + "]:" + port;
    case Kind::kUnix:
      return is_abstract ? "@" + path : path;
    case Kind::kVsock:
      return "vsock " + cid + ":" + port;
    case Kind::kFd:
      return "fd " + fd;
  }
  return {};
}

}  // namespace ashlar
