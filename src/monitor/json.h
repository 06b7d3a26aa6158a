// JSON as monitors speak it: what clients say, what they are answered, and how that is written.
#pragma once

#include <cstddef>
#include <expected>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace ashlar::monitor {

/// What the monitor says: members stay in the order in which they were set.
using Json = nlohmann::ordered_json;
/// What clients say. Finding a member takes logarithmic time, however many they send.
using JsonInput = nlohmann::json;

/// On one line, with a blank after each ':' and ','; everything but ASCII is escaped.
std::string to_line(const Json& value);
/// With line breaks and four blanks of indentation.
std::string to_pretty_text(const Json& value);

/// Reads one JSON text. The error says what is wrong with it, in words for the client.
std::expected<JsonInput, std::string> parse_json(std::string_view text);

}  // namespace ashlar::monitor
