// Everything that is compiled in: the explicit lists of drivers and exports.
#pragma once

#include <span>

#include "ashlar/driver.h"
#include "ashlar/export.h"

namespace ashlar {

/// All drivers of this build, in the order help shows them.
std::span<const DriverSpec* const> builtin_drivers();

/// All kinds of exports of this build.
std::span<const ExportSpec* const> builtin_exports();

}  // namespace ashlar
