// What both ways of writing options share: limits on their input, and the text of values.
#pragma once

#include <string_view>

#include "ashlar/options.h"

namespace ashlar::options_detail {

/// Flattened keys repeat the names of all objects around them: without a limit, a small text of
/// nested objects with long names would grow into gigabytes.
inline constexpr size_t kMaxKeyLength = 255;

/// `value` as the user would write it in key=value form.
std::string text_of(const OptionValue& value);

/// Errors: kTooLarge (reason "options-limit"), kInvalidArgument ("option-name").
Result<void> check_key(std::string_view key);
/// Errors: kTooLarge (reason "options-limit"), kInvalidArgument ("options-zero-byte").
Result<void> check_text(std::string_view text);
/// Errors: kTooLarge (reason "options-limit").
Result<void> check_count(const OptionDict& dict);

}  // namespace ashlar::options_detail
