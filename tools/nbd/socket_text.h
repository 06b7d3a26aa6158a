// What the nbd tool says of sockets that cannot be had.
#pragma once

#include <string>

#include "ashlar/error.h"
#include "ashlar/socket_address.h"

namespace ashlar::tools::nbd {

std::string listen_error_text(const Error& error, const SocketAddress& address);
std::string connect_error_text(const Error& error, const SocketAddress& address);

}  // namespace ashlar::tools::nbd
