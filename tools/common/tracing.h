// -T: what users of the peer's tools say about trace events. This build has none.
#pragma once

#include <optional>
#include <string_view>

#include "tools/common/program.h"

namespace ashlar::tools {

/// Checks `[[enable=]PATTERN][,events=FILE][,file=FILE]` as if there were events: warns of events
/// that do not exist, complains about what is wrong, lists none for "help". Empty: go on; else the
/// status to exit with.
std::optional<int> handle_trace(Program& program, std::string_view text);

}  // namespace ashlar::tools
