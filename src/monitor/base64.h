// Bytes as text: base64, as RFC 4648 has it.
#pragma once

#include <string>
#include <string_view>

#include "ashlar/error.h"

namespace ashlar::monitor {

/// Blanks and line ends do not count; padding may be missing. Errors are in the client's words.
Result<std::string> decode_base64(std::string_view text);
std::string encode_base64(std::string_view bytes);

}  // namespace ashlar::monitor
