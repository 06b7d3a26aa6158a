// TLS over any stream: credentials as the objects tls-creds-x509, tls-creds-psk and tls-creds-anon
// describe them, and the two sides of a handshake. TLS 1.2 and later.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/options.h"
#include "ashlar/stream.h"
#include "ashlar/task.h"

namespace ashlar {

/// The members of a TLS object.
struct TlsSettings {
  enum class Kind : uint8_t { kX509, kPsk, kAnonymous } kind = Kind::kX509;
  enum class Endpoint : uint8_t { kClient, kServer } endpoint = Endpoint::kClient;
  std::string directory;              ///< of the files below
  std::string key_file = "keys.psk";  ///< psk: its name
  bool verify_peer = true;            ///< a peer without a valid certificate is refused
  bool sanity_check = true;           ///< x509: look for mistakes in the certificates while loading
  std::string priority;               ///< which versions and ciphers; empty: NORMAL
  std::string username = "qemu";      ///< psk, client: whose key of keys.psk
  std::optional<std::string> password_id;  ///< x509: the secret that decrypts the key

  /// Takes the members of an object of `type` out of `members`; others are left.
  /// Errors: kInvalidArgument (reasons "tls-type" {type}, "tls-dir-missing", those of options).
  static Result<TlsSettings> take(std::string_view type, OptionDict& members);
  /// The members that objects of `type` have; empty for what is no such type.
  static std::vector<OptionDescription> describe(std::string_view type);
};

/// Loaded credentials. Immutable; shared by all connections that use them. Any loop.
class TlsCredentials {
 public:
  /// Reads the files in settings.directory. x509: ca-cert.pem, server-cert.pem and server-key.pem
  /// or client-cert.pem and client-key.pem (a client needs none), ca-crl.pem and dh-params.pem if
  /// they are there. psk: keys.psk with a line "username:key in hex" for each user; a server takes
  /// dh-params.pem too. Blocks for as long as that takes.
  /// Errors: kNotFound, kPermission, kInvalidArgument (reasons "tls-file" {path}, "tls-certificate"
  /// {path}, "tls-priority" {token}, "tls-user" {name}).
  static Result<std::shared_ptr<const TlsCredentials>> load(
      const TlsSettings& settings, std::optional<std::string> password = std::nullopt);
  ~TlsCredentials();
  TlsCredentials(const TlsCredentials&) = delete;
  TlsCredentials& operator=(const TlsCredentials&) = delete;

  const TlsSettings& settings() const noexcept { return settings_; }
  TlsSettings::Endpoint endpoint() const noexcept { return settings_.endpoint; }

  /// What OpenSSL has loaded. Only for src/async/tls*.cc.
  struct Loaded;
  const Loaded& loaded() const noexcept { return *loaded_; }

 private:
  TlsCredentials(const TlsSettings& settings, std::unique_ptr<Loaded> loaded);
  const TlsSettings settings_;
  const std::unique_ptr<Loaded> loaded_;
};

/// A connection after its handshake.
struct TlsConnection {
  TlsConnection() {}  // NOLINT(modernize-use-equals-default): no aggregate, see ByteRange
  std::unique_ptr<Stream> stream;
  /// Who the peer has proved to be: the distinguished name of its certificate, as
  /// "C=GB,O=Ashlar,CN=laptop", or its user name (psk). Empty when it was not asked to prove
  /// anything.
  std::string peer_name;
};

/// The client's side of a handshake over `plain`. With x509, `hostname` (a name or an address) must
/// be in the server's certificate. An endpoint of the wrong kind is kInvalidArgument.
/// Errors: kPermission (reason "tls-handshake" {what was wrong}) where one side refuses the other;
/// kClosed and kIo from below.
Task<Result<TlsConnection>> tls_connect(std::unique_ptr<Stream> plain,
                                        std::shared_ptr<const TlsCredentials> credentials,
                                        std::string hostname);
/// The server's side.
Task<Result<TlsConnection>> tls_accept(std::unique_ptr<Stream> plain,
                                       std::shared_ptr<const TlsCredentials> credentials);

}  // namespace ashlar
