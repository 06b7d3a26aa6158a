// The types that follow from what is compiled in: options of drivers, of formats to be created and
// of exports.
#pragma once

#include <span>

#include "ashlar/driver.h"
#include "ashlar/export.h"
#include "monitor/types.h"

namespace ashlar::monitor {

/// Defines "BlockdevOptions", "BlockdevRef", "BlockdevRefOrNull", "BlockdevDriver" and
/// "BlockdevCreateOptions" from the tables of `drivers`.
void define_driver_types(Types& types, std::span<const DriverSpec* const> drivers);

/// Defines "BlockExportOptions" and "BlockExportType".
void define_export_types(Types& types, std::span<const ExportSpec* const> exports);

/// Defines "SocketAddress" and "SocketAddressLegacy", whose members are in "data".
void define_socket_types(Types& types);

/// How blockdev-create calls an option that `-o` of the tools has.
std::string create_member_name(std::string_view option);

}  // namespace ashlar::monitor
