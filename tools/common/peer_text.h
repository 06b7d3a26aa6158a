// The words that scripts around the peer's tools match, for errors and findings of the library.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ashlar/error.h"
#include "ashlar/image_info.h"

namespace ashlar::tools {

/// Why something could not be opened, created or changed: what the table has for error.reason();
/// else the library's own message.
std::string peer_text(const Error& error);

/// Why a request or a system call failed: what the table has for error.reason(); else the system's
/// text for error.os_error(), e.g. "Input/output error".
std::string peer_errno_text(const Error& error);

/// The line that check prints for a finding; `program` is the name that some of them begin with.
std::string peer_finding_text(const CheckFinding& finding, std::string_view program);

/// What the table has for `reason`, with `values` put in; for messages that come from no error.
std::optional<std::string> peer_words(std::string_view reason, std::span<const std::string> values);

}  // namespace ashlar::tools
