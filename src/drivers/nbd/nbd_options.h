// The options of the driver "nbd", and what they say together.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "ashlar/credentials.h"
#include "ashlar/options.h"
#include "ashlar/socket_address.h"
#include "drivers/nbd/client.h"

namespace ashlar::nbd::client {

struct NbdOptions {
  std::optional<std::string> filename, path, host, port;
  std::optional<std::string> export_name;
  std::optional<std::string> tls_creds, tls_hostname;
  std::optional<std::string> tls_certificates, tls_psk_file, tls_username;
  std::optional<std::string> dirty_bitmap;
  uint64_t reconnect_delay = 0;
  uint64_t open_timeout = 0;
  uint64_t handshake_timeout = 30;
  uint64_t connections = 4;

  static constexpr auto table() {
    return std::array{
        option("filename", &NbdOptions::filename, "NBD URI instead of server and export"),
        option("host", &NbdOptions::host, "older form of server.host"),
        option("port", &NbdOptions::port, "older form of server.port", "10809"),
        option("path", &NbdOptions::path, "older form of server.path"),
        option("export", &NbdOptions::export_name, "name of the export"),
        option("tls-creds", &NbdOptions::tls_creds, "id of an object with TLS credentials"),
        option("tls-hostname", &NbdOptions::tls_hostname,
               "name that the certificate of the server must have", "the host"),
        option("tls-certificates", &NbdOptions::tls_certificates,
               "folder with certificates, instead of tls-creds"),
        option("tls-psk-file", &NbdOptions::tls_psk_file,
               "file with keys of users, instead of tls-creds"),
        option("tls-username", &NbdOptions::tls_username, "whose key of tls-psk-file", "qemu"),
        option("x-dirty-bitmap", &NbdOptions::dirty_bitmap,
               "metadata context that block status shows in place of the allocation"),
        number_option("reconnect-delay", &NbdOptions::reconnect_delay,
                      "seconds that requests wait for a lost connection", "0"),
        number_option("open-timeout", &NbdOptions::open_timeout,
                      "seconds to go on trying to connect while opening", "0"),
        number_option("handshake-timeout", &NbdOptions::handshake_timeout,
                      "seconds that one attempt to connect may take, 0 for any time", "30"),
        number_option("connections", &NbdOptions::connections,
                      "most connections to a server that allows several, 1 to 16", "4"),
    };
  }
};

/// Most connections of one node.
inline constexpr size_t kMostConnections = 16;

/// What opening needs.
struct Target {
  SocketAddress server;
  ClientSettings settings;
  unsigned connections = 1;
  OptionDict naming;  ///< options that open it again
};

/// Takes the driver's options, "server.*" included, out of `options`.
/// Errors: kInvalidArgument (reasons "nbd-address-missing", "nbd-server-twice" {one, other},
/// "nbd-option-range" {option, value}), those of addresses and of credentials.
Result<Target> take_target(OptionDict& options, const CredentialStore& credentials);

}  // namespace ashlar::nbd::client
