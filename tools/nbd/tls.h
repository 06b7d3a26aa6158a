// The TLS credentials that the nbd tool is told to use.
#pragma once

#include <memory>

#include "async/tls.h"
#include "tools/common/session.h"
#include "tools/nbd/settings.h"

namespace ashlar::tools::nbd {

/// The object settings.tls_credentials, which must be for `endpoint`. Errors carry the user's text.
Result<std::shared_ptr<const TlsCredentials>> tls_of(Session& session, const Settings& settings,
                                                     TlsSettings::Endpoint endpoint);

}  // namespace ashlar::tools::nbd
