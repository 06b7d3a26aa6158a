// The throttle filter: requests at the speed that a group allows.
#pragma once

#include "ashlar/driver.h"

namespace ashlar {

extern const DriverSpec throttle_driver;

}  // namespace ashlar
