// Everything that is compiled in: the explicit list of drivers.
#pragma once

#include <span>

#include "ashlar/driver.h"

namespace ashlar {

/// All drivers of this build, in the order help shows them.
std::span<const DriverSpec* const> builtin_drivers();

}  // namespace ashlar
