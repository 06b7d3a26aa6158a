// Serving one image until the last client has left or a signal comes.
#pragma once

#include "tools/common/session.h"
#include "tools/nbd/daemon.h"
#include "tools/nbd/settings.h"

namespace ashlar::tools::nbd {

/// Opens the image, listens, and serves. `daemon`: what to tell when the server is ready.
/// Complains; returns the exit status.
int serve(Session& session, const Settings& settings, std::optional<Daemon>& daemon);

}  // namespace ashlar::tools::nbd
