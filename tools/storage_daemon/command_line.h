// The options of the storage daemon, in the order they were given.
#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/common/program.h"

namespace ashlar::tools {

/// One option that is carried out in its turn.
struct DaemonStep {
  std::string_view option;  ///< without dashes
  std::string value;
};

struct DaemonOptions {
  std::vector<DaemonStep> steps;
  std::optional<std::string> pid_file;
  bool daemonize = false;
  bool untrusted = false;
};

/// Prints complaints and what --help and --version ask for; the error is then the exit status.
std::expected<DaemonOptions, int> parse_daemon_options(Program& program,
                                                       std::span<char* const> words);

}  // namespace ashlar::tools
