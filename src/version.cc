// The version of the library; the build defines the text from project(VERSION).
#include "ashlar/version.h"

namespace ashlar {

std::string_view version() { return ASHLAR_VERSION; }

}  // namespace ashlar
