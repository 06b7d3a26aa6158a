// Finding tools by name, and what all of them print.
#include "tools/common/tool.h"

#include <fmt/format.h>

#include "ashlar/version.h"

namespace ashlar::tools {

const Tool* find_tool(std::span<const Tool> tools, std::string_view base_name) {
  for (const Tool& tool : tools) {
    if (!base_name.ends_with(tool.name)) continue;
    const std::string_view before = base_name.substr(0, base_name.size() - tool.name.size());
    if (before.empty() || before.ends_with('-')) return &tool;
  }
  return nullptr;
}

void print_version(Program& program) {
  program.out().write(fmt::format("{} version {}\nPart of Ashlar; Apache License 2.0\n",
                                  program.name(), version()));
}

}  // namespace ashlar::tools
