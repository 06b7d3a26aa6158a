// The command line of img convert.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/common/arguments.h"
#include "tools/common/snapshot_argument.h"
#include "tools/img/copy_engine.h"

namespace ashlar::tools {

/// What was asked for, checked as far as that is possible without opening anything.
struct ConvertOptions {
  std::vector<std::string_view> sources;
  std::string target;
  std::string target_format = "raw";
  std::vector<std::string_view> create_lists;  ///< of -o
  std::optional<std::string> backing_file;
  std::optional<std::string> backing_format;
  std::string source_cache = "writeback";
  std::string target_cache = "unsafe";
  std::optional<SnapshotArgument> snapshot;
  CopySettings copy;
  enum class Target : uint8_t { kCreated, kExisting, kExistingByOptions } how = Target::kCreated;
  enum class Contents : uint8_t { kUnknown, kZeroes } contents = Contents::kUnknown;
  enum class Way : uint8_t { kBuffers, kOffload } way = Way::kBuffers;
  enum class Bitmaps : uint8_t { kDrop, kCopy, kCopySound } bitmaps = Bitmaps::kDrop;

  bool compressed() const { return copy.store == CopySettings::Store::kCompressed; }
};

/// Reads the arguments. Complains.
std::optional<ConvertOptions> parse_convert_options(Program& program, const Arguments& arguments);

/// What `-o help` asks for: the format's options, and those of the target's storage where it is
/// named. Empty when nothing asks for help.
struct OptionHelpWish {
  std::string format;
  std::string target;
};
std::optional<OptionHelpWish> wished_option_help(const Arguments& arguments);

/// The command itself: convert.cc.
int run_convert(Program& program, const Arguments& arguments);

}  // namespace ashlar::tools
