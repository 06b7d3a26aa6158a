// The driver "nbd": a disk that a server on the network, or on this machine, exports.
#pragma once

#include "ashlar/driver.h"

namespace ashlar {

extern const DriverSpec nbd_driver;

}  // namespace ashlar
