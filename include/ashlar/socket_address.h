// Where a socket listens or connects: the same members in QMP, on command lines and in drivers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ashlar/error.h"
#include "ashlar/options.h"

namespace ashlar {

/// An address. Only the members of its kind have a meaning.
struct SocketAddress {
  enum class Kind : uint8_t { kInet, kUnix, kVsock, kFd } kind = Kind::kUnix;

  std::string host;                ///< inet: name or number; empty: any address
  std::string port;                ///< inet and vsock: number or service name; "0": any free one
  std::optional<uint64_t> to;      ///< inet, listening: the last port to try
  std::optional<bool> ipv4, ipv6;  ///< inet: which families are wanted
  bool numeric = false;            ///< inet: no name lookups
  bool keep_alive = false;         ///< inet
  std::string path;                ///< unix
  bool is_abstract = false;        ///< unix: in the abstract name space of Linux
  bool tight = true;               ///< unix, abstract: the name has no padding
  std::string cid;                 ///< vsock
  std::string fd;                  ///< fd: number of an open descriptor

  /// Takes "type" ("inet", "unix", "vsock", "fd") and the members of that type out of `dict`; the
  /// older form that wraps the members in "data" too. Other keys are left.
  /// Errors: kInvalidArgument (reasons "socket-type", "socket-member", "option-missing").
  static Result<SocketAddress> take(OptionDict& dict);
  static SocketAddress unix_socket(std::string path);
  static SocketAddress inet(std::string host, std::string port);

  /// As messages name it: "host:port", a path, "vsock cid:port", "fd N".
  std::string describe() const;
};

}  // namespace ashlar
