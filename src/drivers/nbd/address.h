// Names of NBD exports as users type them: URIs (doc/uri.md of the protocol) and the older form.
#pragma once

#include <string>
#include <string_view>

#include "ashlar/error.h"
#include "ashlar/options.h"
#include "ashlar/socket_address.h"

namespace ashlar::nbd::client {

/// Options of the driver from `nbd://host:port/export`, `nbd+unix:///export?socket=path`,
/// `nbd+vsock://cid:port/export`, the same with `nbds` for TLS (which takes tls-creds,
/// tls-certificates, tls-psk-file, tls-username and tls-hostname), or from `nbd:host:port` and
/// `nbd:unix:path`, with `:exportname=name` behind it.
/// Errors: kInvalidArgument (reasons "nbd-uri" {name}, "nbd-address" {address}).
Result<OptionDict> parse_name(std::string_view name);

/// A name that parse_name() understands. Export names stand in it as they are, which is how the
/// peer's tools show them; empty where no name says it all.
std::string plain_name(const SocketAddress& server, const std::string& export_name);

}  // namespace ashlar::nbd::client
