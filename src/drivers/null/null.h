// Null devices: the drivers "null-co" and "null-aio".
#pragma once

#include "ashlar/driver.h"

namespace ashlar {

extern const DriverSpec null_co_driver;
extern const DriverSpec null_aio_driver;

}  // namespace ashlar
