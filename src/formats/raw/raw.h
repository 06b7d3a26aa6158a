// Raw images: the driver "raw".
#pragma once

#include "ashlar/driver.h"

namespace ashlar {

extern const DriverSpec raw_driver;

}  // namespace ashlar
