// Reading and writing the names of NBD exports.
#include "drivers/nbd/address.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "protocols/nbd.h"

namespace ashlar::nbd::client {
namespace {

constexpr std::string_view kExportMark = ":exportname=";

std::unexpected<Error> bad_uri(std::string_view name, std::string_view why) {
  return fail(Error(ErrorCode::kInvalidArgument, fmt::format("NBD URI \"{}\" {}", name, why))
                  .because("nbd-uri", {std::string(name)}));
}

/// `%41` becomes `A`; nothing when it is no such text.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    if (text[0] != '%') {
      plain.push_back(text[0]);
      text.remove_prefix(1);
      continue;
    }
    unsigned value = 0;
    if (text.size() < 3) return std::nullopt;
    const auto [end, error] = std::from_chars(text.data() + 1, text.data() + 3, value, 16);
    if (error != std::errc() || end != text.data() + 3 || value == 0) return std::nullopt;
    plain.push_back(static_cast<char>(value));
    text.remove_prefix(3);
  }
  return plain;
}

/// Takes what is before `mark`, and the mark.
std::string_view take_until(std::string_view& text, std::string_view mark) {
  const size_t end = std::min(text.find(mark), text.size());
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(std::min(end + mark.size(), text.size()));
  return taken;
}

struct HostAndPort {
  std::string host, port;
};

/// `host:port`, `host`, `[number of IPv6]:port`.
std::optional<HostAndPort> split_authority(std::string_view text) {
  HostAndPort parts;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    parts.host = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    if (!text.empty() && text[0] != ':') return std::nullopt;
    if (!text.empty()) text.remove_prefix(1);
  } else {
    parts.host = take_until(text, ":");
  }
  if (text.find(':') != std::string_view::npos) return std::nullopt;
  parts.port = text;
  return parts;
}

/// A URI in parts, nothing decoded.
struct Uri {
  std::string_view whole, transport, authority, path, query;
  bool tls = false;
};

Result<void> add_query(const Uri& uri, OptionDict& options) {
  static constexpr std::array<std::string_view, 5> kTls{
      "tls-creds", "tls-certificates", "tls-psk-file", "tls-username", "tls-hostname"};
  std::string_view left = uri.query;
  while (!left.empty()) {
    std::string_view value = take_until(left, "&");
    const std::string key(take_until(value, "="));
    const std::optional<std::string> text = percent_decoded(value);
    if (!text) return bad_uri(uri.whole, "has a wrong %");
    if (key == "socket" && uri.transport == "unix") {
      options.set("server.path", *text);
    } else if (uri.tls && std::ranges::find(kTls, key) != kTls.end()) {
      options.set(key, *text);
    } else {
      return bad_uri(uri.whole,
                     fmt::format("has the parameter \"{}\", which it does not take", key));
    }
  }
  return ok();
}

Result<void> add_server(const Uri& uri, OptionDict& options) {
  if (uri.transport == "unix") {
    options.set("server.type", std::string("unix"));
    if (!uri.authority.empty()) return bad_uri(uri.whole, "has a host and is of a unix socket");
    if (options.find("server.path") != nullptr) return ok();
    return bad_uri(uri.whole, "does not say \"?socket=\"");
  }
  const std::optional<HostAndPort> parts = split_authority(uri.authority);
  if (!parts) return bad_uri(uri.whole, "has no host and port that can be read");
  const bool vsock = uri.transport == "vsock";
  if (!vsock && uri.transport != "tcp") return bad_uri(uri.whole, "is of no known transport");
  const std::optional<std::string> host = percent_decoded(parts->host);
  if (!host || host->empty()) return bad_uri(uri.whole, "has no host");
  if (parts->port.size() > 5 && !vsock) return bad_uri(uri.whole, "has no port that can be");
  options.set("server.type", std::string(vsock ? "vsock" : "inet"));
  options.set(vsock ? "server.cid" : "server.host", *host);
  options.set("server.port", parts->port.empty() ? std::string(kDefaultPort) : parts->port);
  return ok();
}

Result<OptionDict> parse_uri(std::string_view name) {
  Uri uri;
  uri.whole = name;
  std::string_view left = name;
  std::string_view scheme = take_until(left, "://");
  uri.tls = take_until(scheme, "+") == "nbds";
  uri.transport = scheme.empty() ? "tcp" : scheme;
  std::string_view before_query = take_until(left, "?");
  uri.query = left;
  uri.authority = take_until(before_query, "/");
  uri.path = before_query;
  OptionDict options;
  Result<void> added = add_query(uri, options);
  if (added) added = add_server(uri, options);
  if (!added) return fail(added.error());
  const std::optional<std::string> export_name = percent_decoded(uri.path);
  if (!export_name) return bad_uri(name, "has a wrong %");
  if (!export_name->empty()) options.set("export", *export_name);
  if (!uri.tls) return options;
  for (const char* key : {"tls-creds", "tls-certificates", "tls-psk-file"}) {
    if (options.find(key) != nullptr) return options;
  }
  return bad_uri(name, "is of TLS and says no tls-creds, tls-certificates or tls-psk-file");
}

Result<OptionDict> parse_old_name(std::string_view name) {
  std::string_view left = name;
  take_until(left, ":");
  const std::string_view address = take_until(left, kExportMark);
  OptionDict options;
  if (address.starts_with("unix:")) {
    options.set("server.type", std::string("unix"));
    options.set("server.path", std::string(address.substr(5)));
  } else {
    const std::optional<HostAndPort> parts = split_authority(address);
    if (!parts || parts->host.empty() || parts->port.empty()) {
      return fail(Error(ErrorCode::kInvalidArgument,
                        fmt::format("\"{}\" is no address of an NBD server: host:port or unix:path "
                                    "is",
                                    address))
                      .because("nbd-address", {std::string(address)}));
    }
    options.set("server.type", std::string("inet"));
    options.set("server.host", parts->host);
    options.set("server.port", parts->port);
  }
  if (!left.empty()) options.set("export", std::string(left));
  return options;
}

}  // namespace

Result<OptionDict> parse_name(std::string_view name) {
  return name.find("://") != std::string_view::npos ? parse_uri(name) : parse_old_name(name);
}

std::string plain_name(const SocketAddress& server, const std::string& export_name) {
  if (server.kind == SocketAddress::Kind::kUnix && !server.is_abstract) {
    return export_name.empty() ? "nbd+unix://?socket=" + server.path
                               : fmt::format("nbd+unix:///{}?socket={}", export_name, server.path);
  }
  const bool plain_inet = server.kind == SocketAddress::Kind::kInet && !server.ipv4 &&
                          !server.ipv6 && !server.numeric && !server.keep_alive;
  if (!plain_inet) return {};
  std::string name = "nbd://" + server.describe();
  if (!export_name.empty()) name += "/" + export_name;
  return name;
}

}  // namespace ashlar::nbd::client
