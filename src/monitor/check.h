// Checks what a client sends against its type, before anything is done with it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "monitor/json.h"
#include "monitor/types.h"

namespace ashlar::monitor {

/// Where a value comes from: JSON has types, text on a command line gets them here ("on" becomes
/// true where a switch is wanted).
enum class Source : uint8_t { kJson, kText };

/// What is wrong with `value`, in words for the client; empty: nothing. `path` names the value.
std::optional<std::string> check_value(const Type& type, JsonInput& value, const std::string& path,
                                       Source source);

/// The same for the members of the object `value`: `path` is empty for the arguments of a command.
std::optional<std::string> check_members(const Type& type, JsonInput& value,
                                         const std::string& path, Source source);

}  // namespace ashlar::monitor
