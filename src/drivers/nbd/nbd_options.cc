// From options to a server, an export and credentials.
#include "drivers/nbd/nbd_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "async/tls.h"
#include "drivers/nbd/address.h"

namespace ashlar::nbd::client {
namespace {

constexpr uint64_t kMostSeconds = 10'000'000;
constexpr uint64_t kSecond = 1'000'000'000;

/// Options that say how a disk is reached, not which one it is.
constexpr std::array<std::string_view, 4> kHowOnly{"reconnect-delay", "open-timeout",
                                                   "handshake-timeout", "connections"};

Error twice(std::string_view one, std::string_view other) {
  return Error(
             ErrorCode::kInvalidArgument,
             fmt::format("nbd: options \"{}\" and \"{}\" both say where the server is", one, other))
      .because("nbd-server-twice", {std::string(one), std::string(other)});
}

Result<void> check_range(std::string_view name, uint64_t value, uint64_t first, uint64_t last) {
  if (value >= first && value <= last) return ok();
  return fail(Error(ErrorCode::kInvalidArgument,
                    fmt::format("nbd: option \"{}\" wants a number from {} to {}, not {}", name,
                                first, last, value))
                  .because("nbd-option-range", {std::string(name), std::to_string(value)}));
}

/// Puts the options that a URI stands for in its place.
Result<void> expand_filename(OptionDict& options) {
  const std::optional<std::string> filename = options.take_text("filename");
  if (!filename) return ok();
  Result<OptionDict> parsed = parse_name(*filename);
  if (!parsed) return fail(parsed.error());
  for (const auto& [key, value] : parsed->entries()) {
    if (options.find(key) != nullptr ||
        (key.starts_with("server.") && options.has_subtree("server"))) {
      return fail(twice("filename", key));
    }
  }
  for (const auto& [key, value] : parsed->entries()) options.set(key, value);
  return ok();
}

Result<SocketAddress> server_of(const NbdOptions& own, OptionDict& options) {
  const bool has_server = options.has_subtree("server");
  if (own.path && own.host) return fail(twice("path", "host"));
  if (has_server && (own.path || own.host))
    return fail(twice(own.path ? "path" : "host", "server"));
  if (own.port && !own.host) return fail(twice("port", own.path ? "path" : "server"));
  if (own.path) return SocketAddress::unix_socket(*own.path);
  if (own.host) return SocketAddress::inet(*own.host, own.port.value_or(std::string(kDefaultPort)));
  if (!has_server) {
    return fail(Error(ErrorCode::kInvalidArgument, "nbd: nothing says where the server is")
                    .because("nbd-address-missing"));
  }
  OptionDict members = options.take_subtree("server");
  Result<SocketAddress> server = SocketAddress::take(members);
  options.add_subtree("server", members);  // what is left is complained about
  return server;
}

Result<std::shared_ptr<const TlsCredentials>> credentials_of(const NbdOptions& own,
                                                             const CredentialStore& store) {
  if (own.tls_creds) return store.tls_credentials(*own.tls_creds);
  if (!own.tls_certificates && !own.tls_psk_file) return std::shared_ptr<const TlsCredentials>();
  TlsSettings settings;
  settings.kind = own.tls_psk_file ? TlsSettings::Kind::kPsk : TlsSettings::Kind::kX509;
  if (own.tls_psk_file) {
    const size_t slash = own.tls_psk_file->rfind('/');
    settings.directory = slash == std::string::npos ? "." : own.tls_psk_file->substr(0, slash + 1);
    settings.key_file =
        slash == std::string::npos ? *own.tls_psk_file : own.tls_psk_file->substr(slash + 1);
  } else {
    settings.directory = *own.tls_certificates;
  }
  settings.username = own.tls_username.value_or(settings.username);
  return TlsCredentials::load(settings);
}

/// What shows users the same node again: a URI alone where that says it all.
OptionDict naming_of(const OptionDict& given, const NbdOptions& own, const SocketAddress& server) {
  const std::string export_name = own.export_name.value_or("");
  const bool encrypted = own.tls_creds || own.tls_certificates || own.tls_psk_file;
  const std::string plain = plain_name(server, export_name);
  OptionDict naming;
  if (!plain.empty() && !encrypted) {
    naming.set("filename", plain);
    return naming;
  }
  for (const auto& [key, value] : given.entries()) {
    if (std::ranges::find(kHowOnly, key) == kHowOnly.end()) naming.set(key, value);
  }
  return naming;
}

}  // namespace

Result<Target> take_target(OptionDict& options, const CredentialStore& credentials) {
  if (Result<void> expanded = expand_filename(options); !expanded) return fail(expanded.error());
  const OptionDict given = options;
  Result<NbdOptions> own = take_options<NbdOptions>(options);
  if (!own) return fail(own.error());
  Result<void> right = check_range("connections", own->connections, 1, kMostConnections);
  if (right) right = check_range("reconnect-delay", own->reconnect_delay, 0, kMostSeconds);
  if (right) right = check_range("open-timeout", own->open_timeout, 0, kMostSeconds);
  if (right) right = check_range("handshake-timeout", own->handshake_timeout, 0, kMostSeconds);
  if (right && own->export_name.value_or("").size() > kMaxString) {
    right = fail(Error(ErrorCode::kInvalidArgument,
                       fmt::format("nbd: name of the export has {} bytes, at most {} are allowed",
                                   own->export_name->size(), kMaxString))
                     .because("nbd-export-long"));
  }
  if (!right) return fail(right.error());
  Result<SocketAddress> server = server_of(*own, options);
  if (!server) return fail(server.error());
  Result<std::shared_ptr<const TlsCredentials>> tls = credentials_of(*own, credentials);
  if (!tls) return fail(tls.error());
  Target target;
  target.naming = naming_of(given, *own, *server);
  target.connections = static_cast<unsigned>(own->connections);
  target.settings.wishes.export_name = own->export_name.value_or("");
  target.settings.wishes.context = own->dirty_bitmap.value_or("");
  target.settings.wishes.tls = std::move(*tls);
  const bool inet = server->kind == SocketAddress::Kind::kInet;
  target.settings.wishes.tls_hostname = own->tls_hostname.value_or(inet ? server->host : "");
  target.settings.reconnect_delay_ns = own->reconnect_delay * kSecond;
  target.settings.open_timeout_ns = own->open_timeout * kSecond;
  target.settings.attempt_ns = own->handshake_timeout * kSecond;
  target.server = std::move(*server);
  return target;
}

}  // namespace ashlar::nbd::client
