// Finding TLS credentials among the objects.
#include "tools/nbd/tls.h"

#include <fmt/format.h>

namespace ashlar::tools::nbd {

Result<std::shared_ptr<const TlsCredentials>> tls_of(Session& session, const Settings& settings,
                                                     TlsSettings::Endpoint endpoint) {
  const auto failed = [](std::string_view why) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("Failed to get TLS creds: {}", why));
  };
  Result<std::shared_ptr<const TlsCredentials>> found =
      session.objects().tls_credentials(settings.tls_credentials);
  if (!found) {
    return failed(fmt::format("No TLS credentials with id '{}'", settings.tls_credentials));
  }
  if ((*found)->endpoint() != endpoint) {
    return failed(endpoint == TlsSettings::Endpoint::kServer
                      ? "Expecting TLS credentials with a server endpoint"
                      : "Expecting TLS credentials with a client endpoint");
  }
  return found;
}

}  // namespace ashlar::tools::nbd
