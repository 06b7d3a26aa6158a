// Files and block devices of the host: the drivers "file" and "host_device".
#pragma once

#include "ashlar/driver.h"

namespace ashlar {

extern const DriverSpec file_driver;
extern const DriverSpec host_device_driver;

}  // namespace ashlar
