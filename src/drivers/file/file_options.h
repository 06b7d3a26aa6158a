// The options of the drivers "file" and "host_device".
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "ashlar/options.h"

namespace ashlar::file {

struct FileOptions {
  std::string filename;
  std::optional<std::string> locking;
  std::optional<std::string> aio;
  std::optional<bool> drop_cache;

  static constexpr std::array<std::string_view, 3> kSwitches = {"auto", "on", "off"};
  static constexpr std::array<std::string_view, 3> kEngines = {"threads", "native", "io_uring"};

  static constexpr auto table() {
    return std::array{
        option("filename", &FileOptions::filename, "path of the file"),
        choice_option("locking", &FileOptions::locking, kSwitches,
                      "lock bytes of the file to keep other processes from conflicting use",
                      "auto"),
        choice_option("aio", &FileOptions::aio, kEngines,
                      "accepted for scripts; native needs cache.direct=on", "threads"),
        option("drop-cache", &FileOptions::drop_cache,
               "when reopened, forget the host's cached pages", "on"),
    };
  }
};

struct FileCreateOptions {
  uint64_t size = 0;
  std::string preallocation = "off";
  bool nocow = false;
  std::optional<uint64_t> extent_size_hint;

  static constexpr std::array<std::string_view, 3> kModes = {"off", "falloc", "full"};

  static constexpr auto table() {
    return std::array{
        option("size", &FileCreateOptions::size, "Virtual disk size"),
        option("preallocation", &FileCreateOptions::preallocation,
               "Preallocation mode (allowed values: off, falloc, full)"),
        option("nocow", &FileCreateOptions::nocow, "Turn off copy-on-write (valid only on btrfs)"),
        option("extent_size_hint", &FileCreateOptions::extent_size_hint,
               "Extent size hint for the image file, 0 to disable"),
    };
  }
};

}  // namespace ashlar::file
