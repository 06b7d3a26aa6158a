// Secrets and TLS credentials, by the ids under which users created them (--object, object-add).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "ashlar/error.h"

namespace ashlar {

class TlsCredentials;  // src/async/tls.h

/// Whoever keeps the user's objects. Drivers and exports ask while they open; what they were given
/// stays valid when the object is deleted. Control loop only.
class CredentialStore {
 public:
  virtual ~CredentialStore() = default;
  /// The bytes of a secret. Errors: kNotFound (reason "secret-not-found" {id}).
  virtual Result<std::string> secret(std::string_view id) const = 0;
  /// Errors: kNotFound (reason "tls-not-found" {id}), kInvalidArgument ("tls-type" {id}) when the
  /// object is something else.
  virtual Result<std::shared_ptr<const TlsCredentials>> tls_credentials(
      std::string_view id) const = 0;
};

/// Has nothing: the default of a graph.
std::shared_ptr<const CredentialStore> no_credentials();

Error secret_not_found(std::string_view id);
Error tls_credentials_not_found(std::string_view id);

}  // namespace ashlar
