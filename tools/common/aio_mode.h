// Ways to reach files by the names users know: threads, native, io_uring.
#pragma once

#include <optional>
#include <string_view>

#include "ashlar/driver.h"
#include "ashlar/loop.h"

namespace ashlar::tools {

/// What -i asks for. The loop serves all files of a tool in one way: a pool of blocking calls, or
/// the kernel's asynchronous interface, for which there are two names.
enum class AioMode : uint8_t { kThreads, kNative, kIoUring };

inline std::optional<AioMode> parse_aio_mode(std::string_view name) {
  if (name == "threads") return AioMode::kThreads;
  if (name == "native") return AioMode::kNative;
  if (name == "io_uring") return AioMode::kIoUring;
  return std::nullopt;
}

inline RuntimeOptions::FileBackend file_backend(AioMode mode) {
  return mode == AioMode::kThreads ? RuntimeOptions::FileBackend::kThreads
                                   : RuntimeOptions::FileBackend::kAutomatic;
}

/// Why `mode` cannot be had for an image opened with `flags`; empty when it can.
inline std::string_view aio_mode_problem(AioMode mode, const OpenFlags& flags) {
  if (mode != AioMode::kNative || flags.cache_direct) return {};
  return "aio=native was specified, but it requires cache.direct=on, which was not specified.";
}

}  // namespace ashlar::tools
