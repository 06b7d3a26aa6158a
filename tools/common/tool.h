// The tools of the multi-call program.
#pragma once

#include <span>
#include <string_view>

#include "tools/common/arguments.h"
#include "tools/common/program.h"

namespace ashlar::tools {

/// One tool. Programs whose names end in "-" and the tool's name, or in just that, are it.
struct Tool {
  std::string_view name;
  std::string_view summary;
  /// `words`: those after the program's name. Returns the exit status.
  int (*run)(Program& program, std::span<char* const> words);
};

/// The tool that a program of this base name is, or null.
const Tool* find_tool(std::span<const Tool> tools, std::string_view base_name);

/// Two lines: name and version, and the licence.
void print_version(Program& program);

}  // namespace ashlar::tools
