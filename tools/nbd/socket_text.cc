// Messages about sockets, as scripts match them.
#include "tools/nbd/socket_text.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "tools/common/peer_text.h"

namespace ashlar::tools::nbd {
namespace {

/// Empty: the error is about something else.
std::string lookup_error_text(const Error& error) {
  if (error.reason() != "socket-lookup") return {};
  const auto values = error.values();
  return fmt::format("address resolution failed for {}:{}: {}", values[0], values[1], values[2]);
}

}  // namespace

std::string listen_error_text(const Error& error, const SocketAddress& address) {
  if (std::string text = lookup_error_text(error); !text.empty()) return text;
  if (error.reason() != "socket-listen") return peer_text(error);
  const char* why = std::strerror(error.os_error());
  if (address.kind == SocketAddress::Kind::kUnix) {
    return fmt::format("Failed to bind socket to {}: {}", address.path, why);
  }
  if (error.os_error() == EADDRINUSE) {
    return fmt::format("Failed to find an available port: {}", why);
  }
  return fmt::format("Failed to bind socket: {}", why);
}

std::string connect_error_text(const Error& error, const SocketAddress& address) {
  if (std::string text = lookup_error_text(error); !text.empty()) return text;
  if (error.reason() != "socket-connect") return peer_text(error);
  return fmt::format("Failed to connect to '{}': {}", address.describe(),
                     std::strerror(error.os_error()));
}

}  // namespace ashlar::tools::nbd
