// The version of the library, as text.
#pragma once

#include <string_view>

namespace ashlar {

/// The version this library was built as, for example "0.1.0". Valid for the life of the process.
std::string_view version();

}  // namespace ashlar
