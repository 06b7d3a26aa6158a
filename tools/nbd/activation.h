// Socket activation: a listening socket that whoever started this process has left for it.
#pragma once

#include <optional>

#include "ashlar/error.h"
#include "ashlar/socket_address.h"

namespace ashlar::tools::nbd {

/// The socket that LISTEN_FDS and LISTEN_PID announce; empty when they do not. Takes both out of
/// the environment: they are for this process alone.
/// Errors: kUnsupported when there are several.
Result<std::optional<SocketAddress>> activation_socket();

}  // namespace ashlar::tools::nbd
