// All commands of the shell in one list.
#include "tools/io/commands.h"

#include <algorithm>
#include <vector>

namespace ashlar::tools::io {
namespace {

std::vector<ShellCommand> sorted_commands() {
  std::vector<ShellCommand> all;
  for (const auto family :
       {read_commands(), write_commands(), background_commands(), image_commands(),
        device_commands(), breakpoint_commands(), control_commands()}) {
    all.insert(all.end(), family.begin(), family.end());
  }
  std::ranges::sort(all, {}, &ShellCommand::name);
  return all;
}

}  // namespace

std::span<const ShellCommand> shell_commands() {
  static const std::vector<ShellCommand> all = sorted_commands();
  return all;
}

const ShellCommand* find_shell_command(std::string_view name) {
  for (const ShellCommand& command : shell_commands()) {
    if (command.name == name || (!command.alias.empty() && command.alias == name)) return &command;
  }
  return nullptr;
}

std::string synopsis_line(const ShellCommand& command, std::string_view typed_name) {
  std::string line(typed_name);
  if (!command.synopsis.empty()) line.append(" ").append(command.synopsis);
  return line.append(" -- ").append(command.summary).append("\n");
}

}  // namespace ashlar::tools::io
