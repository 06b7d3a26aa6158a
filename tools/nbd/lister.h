// Asking another server what it has.
#pragma once

#include "tools/common/session.h"
#include "tools/nbd/settings.h"

namespace ashlar::tools::nbd {

/// Prints the exports of the server at settings.address. Complains; returns the exit status.
int list_exports(Session& session, const Settings& settings);

}  // namespace ashlar::tools::nbd
