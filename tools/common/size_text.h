// Sizes as people read and type them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tools/common/program.h"

namespace ashlar::tools {

/// Three significant digits: "1 MiB", "1.03 MiB", "0.977 KiB", "512 B".
std::string human_size(uint64_t bytes);

/// "1 MiB (1048576 bytes)"
std::string size_with_bytes(uint64_t bytes);

/// As io commands show sizes: up to three decimals, none when whole: "1.938 MiB", "960 KiB",
/// "0 bytes".
std::string io_size(uint64_t bytes);

/// Reads a size between 0 and 2^63 - 1, or complains about `what`, e.g. "image size".
std::optional<uint64_t> size_argument(const Program& program, std::string_view what,
                                      std::string_view text);
/// Reads a count in a range, or complains about `what`.
struct CountRange {
  uint64_t least;
  uint64_t most;
};
std::optional<uint64_t> count_argument(const Program& program, std::string_view what,
                                       std::string_view text, CountRange range);

}  // namespace ashlar::tools
