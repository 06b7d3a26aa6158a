// Cache modes by name.
#include "tools/common/cache_mode.h"

namespace ashlar::tools {

std::optional<CacheMode> parse_cache_mode(std::string_view name) {
  using enum Backend::WriteCache;
  struct Row {
    std::string_view name;
    CacheMode mode;
  };
  static constexpr Row kModes[] = {
      {"none", {.direct = true, .no_flush = false, .write_cache = kBack}},
      {"off", {.direct = true, .no_flush = false, .write_cache = kBack}},
      {"directsync", {.direct = true, .no_flush = false, .write_cache = kThrough}},
      {"writeback", {.direct = false, .no_flush = false, .write_cache = kBack}},
      {"writethrough", {.direct = false, .no_flush = false, .write_cache = kThrough}},
      {"unsafe", {.direct = false, .no_flush = true, .write_cache = kBack}},
  };
  for (const Row& row : kModes) {
    if (row.name == name) return row.mode;
  }
  return std::nullopt;
}

}  // namespace ashlar::tools
