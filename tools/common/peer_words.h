// The table behind peer_text.h: one row per reason.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace ashlar::tools {

/// What scripts expect to read where the library says `reason`. In `text`: {0} to {9} are the
/// error's values, {cause} the text of its cause (Error::cause(), else value 0), {errno} the
/// system's text for its errno.
struct PeerWords {
  std::string_view reason;
  std::string_view text;
  /// Findings of check: most are told as they are, some behind the program's name.
  enum class Voice : uint8_t { kPlain, kProgram } voice = Voice::kPlain;
};

/// All rows, in no order.
std::span<const PeerWords> peer_words_table();

}  // namespace ashlar::tools
