// Memory: the driver "memory".
#pragma once

#include "ashlar/driver.h"

namespace ashlar {

extern const DriverSpec memory_driver;

}  // namespace ashlar
