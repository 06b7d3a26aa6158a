// The empty store of credentials, and what a store says of an id that it has not.
#include "ashlar/credentials.h"

#include <fmt/format.h>

namespace ashlar {
namespace {

class NoCredentials final : public CredentialStore {
 public:
  Result<std::string> secret(std::string_view id) const override {
    return fail(secret_not_found(id));
  }
  Result<std::shared_ptr<const TlsCredentials>> tls_credentials(
      std::string_view id) const override {
    return fail(tls_credentials_not_found(id));
  }
};

}  // namespace

std::shared_ptr<const CredentialStore> no_credentials() {
  return std::make_shared<NoCredentials>();
}

Error secret_not_found(std::string_view id) {
  return Error(ErrorCode::kNotFound, fmt::format("no secret is called \"{}\"", id))
      .because("secret-not-found", {std::string(id)});
}

Error tls_credentials_not_found(std::string_view id) {
  return Error(ErrorCode::kNotFound, fmt::format("no TLS credentials are called \"{}\"", id))
      .because("tls-not-found", {std::string(id)});
}

}  // namespace ashlar
