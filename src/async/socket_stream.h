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

/// The socket of such a stream, which ends with this; empty for streams of other kinds. For
/// protocols that send more than bytes: before anything was read or written.
OwnedDescriptor take_socket(std::unique_ptr<Stream> stream);

}  // namespace ashlar
