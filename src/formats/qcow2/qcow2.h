// The qcow2 format: disk images that grow, with backing files, compression and snapshots.
#pragma once

#include "ashlar/driver.h"

namespace ashlar {

extern const DriverSpec qcow2_driver;

}  // namespace ashlar
