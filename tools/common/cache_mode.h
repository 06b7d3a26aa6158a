// Cache modes by the names users know: none, writeback, writethrough, directsync, unsafe.
#pragma once

#include <optional>
#include <string_view>

#include "ashlar/backend.h"
#include "ashlar/driver.h"

namespace ashlar::tools {

/// What a cache mode means for opening and for the backend.
struct CacheMode {
  bool direct = false;
  bool no_flush = false;
  Backend::WriteCache write_cache = Backend::WriteCache::kBack;

  void apply_to(OpenFlags& flags) const {
    flags.cache_direct = direct;
    flags.cache_no_flush = no_flush;
  }
};

std::optional<CacheMode> parse_cache_mode(std::string_view name);

}  // namespace ashlar::tools
