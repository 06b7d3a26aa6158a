// Choice of the command, and what the tool says without one.
#include "tools/img/img.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "ashlar/builtin.h"
#include "tools/common/tool.h"
#include "tools/common/tracing.h"

namespace ashlar::tools {
namespace {

constexpr const Command* kCommands[] = {
    &kBenchCommand,   &kCheckCommand,  &kCompareCommand,  &kConvertCommand,
    &kCreateCommand,  &kDdCommand,     &kInfoCommand,     &kMapCommand,
    &kMeasureCommand, &kResizeCommand, &kSnapshotCommand,
};

/// Commands whose engines are not part of this build.
constexpr std::string_view kUnavailable[] = {"amend", "bitmap", "commit", "rebase"};

/// Names, separated by blanks, in lines of less than 80 columns.
std::string wrapped(const std::vector<std::string_view>& names) {
  std::string text;
  size_t column = 0;
  for (const std::string_view name : names) {
    const bool fits = column + 1 + name.size() < 80;
    text += column == 0 ? "  " : fits ? " " : "\n  ";
    column = column == 0 || !fits ? 2 : column + 1;
    text += name;
    column += name.size();
  }
  return text + "\n";
}

void print_help(Program& program) {
  print_version(program);
  std::string text = fmt::format(
      "Usage: {} [-V | --help] COMMAND [OPTION]... [OPERAND]...\n"
      "Creates, inspects and changes disk images.\n\nCommands:\n",
      program.path());
  for (const Command* command : kCommands) {
    text += fmt::format("  {:<10} {}\n", command->name, command->summary);
  }
  text += fmt::format("\n'{} COMMAND --help' describes a command.\n\nSupported image formats:\n",
                      program.path());
  std::vector<std::string_view> formats;
  for (const DriverSpec* driver : builtin_drivers()) formats.push_back(driver->name);
  std::ranges::sort(formats);
  program.out().write(text + wrapped(formats));
}

const Command* find_command(std::string_view name) {
  const auto found = std::ranges::find(kCommands, name, &Command::name);
  return found == std::end(kCommands) ? nullptr : *found;
}

/// An option in the place of a command.
int run_option(Program& program, std::string_view word) {
  if (word == "-V" || word == "--version") {
    print_version(program);
    return kSuccess;
  }
  if (word == "-h" || word == "--help") {
    print_help(program);
    return kSuccess;
  }
  return usage_error(program, {}, fmt::format("unrecognized option '{}'", word));
}

/// -T and --trace, which stand before the command. Takes the words that belong to them. Empty: go
/// on; else the status to exit with.
std::optional<int> take_trace(Program& program, std::span<char* const>& words) {
  std::string_view word = words.front();
  words = words.subspan(1);
  if (word.starts_with("--trace=")) return handle_trace(program, word.substr(8));
  if (word.starts_with("-T") && word.size() > 2) return handle_trace(program, word.substr(2));
  if (words.empty()) {
    return usage_error(program, {}, fmt::format("missing argument for option '{}'", word));
  }
  word = words.front();
  words = words.subspan(1);
  return handle_trace(program, word);
}

bool is_trace(std::string_view word) {
  return word.starts_with("-T") || word == "--trace" || word.starts_with("--trace=");
}

}  // namespace

int run_img(Program& program, std::span<char* const> words) {
  while (!words.empty() && is_trace(words.front())) {
    if (const auto status = take_trace(program, words)) return *status;
  }
  if (words.empty()) return usage_error(program, {}, "Not enough arguments");
  const std::string_view name = words.front();
  if (name.starts_with('-')) return run_option(program, name);
  const Command* command = find_command(name);
  if (command != nullptr) {
    const auto arguments = parse_arguments(program, *command, words.subspan(1));
    return arguments ? command->run(program, *arguments) : arguments.error();
  }
  if (std::ranges::find(kUnavailable, name) != std::end(kUnavailable)) {
    program.error(fmt::format("{}: this command is not part of this build", name));
    return kFailure;
  }
  return usage_error(program, {}, fmt::format("Command not found: {}", name));
}

}  // namespace ashlar::tools
