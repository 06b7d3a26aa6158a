// A stream over a connected socket.
#pragma once

#include <memory>
#include <string>

#include "ashlar/stream.h"
#include "async/owned_descriptor.h"
#include "async/socket_name.h"

namespace ashlar {

/// Takes a connected socket over. `address` says how it was reached: its settings are applied, and
/// it names a peer that has no name itself.
std::unique_ptr<Stream> make_socket_stream(OwnedDescriptor socket, const SocketAddress& address);

}  // namespace ashlar
