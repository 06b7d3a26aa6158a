// Commands of the shell about the shell itself: help, quit, sleep, and ways to die.
#include <fmt/format.h>

#include <charconv>
#include <csignal>
#include <cstdlib>

#include "tools/io/commands.h"

namespace ashlar::tools::io {
namespace {

Outcome run_help(Shell& shell, Words words) {
  if (words.size() == 1) {
    for (const ShellCommand& command : shell_commands()) {
      shell.out().write(synopsis_line(command, command.name));
    }
    shell.out().write("\nUse 'help commandname' for extended help.\n");
    return Outcome::kDone;
  }
  const ShellCommand* command = find_shell_command(words[1]);
  if (command == nullptr) return shell.fail_with(fmt::format("command {} not found", words[1]));
  shell.out().write(synopsis_line(*command, words[1]));
  shell.out().write(command->details);
  return Outcome::kDone;
}

Outcome run_quit(Shell& shell, Words) {
  shell.quit();
  return Outcome::kDone;
}

/// Requests in the background go on meanwhile.
Task<void> sleep_task(uint64_t nanoseconds) { co_await sleep_for(nanoseconds); }

Outcome run_sleep(Shell& shell, Words words) {
  constexpr uint64_t kNsPerMs = 1'000'000;
  const Result<uint64_t> milliseconds = parse_number(words[1]);
  if (!milliseconds || *milliseconds > UINT64_MAX / kNsPerMs) {
    return shell.fail_with(fmt::format("{} is not a valid number", words[1]));
  }
  shell.wait(sleep_task(*milliseconds * kNsPerMs));
  return Outcome::kDone;
}

Outcome run_sigraise(Shell& shell, Words words) {
  const auto signal = shell.number(words[1]);
  if (!signal) return Outcome::kFailed;
  if (*signal >= static_cast<uint64_t>(NSIG)) {
    return shell.fail_with(
        fmt::format("signal argument '{}' is too large to be a valid signal", words[1]));
  }
  shell.out().flush();
  std::raise(static_cast<int>(*signal));
  return Outcome::kDone;
}

Outcome run_abort(Shell& shell, Words) {
  shell.out().flush();
  std::abort();
}

constexpr std::string_view kSigraiseDetails =
    "\n Sends the tool itself the signal of that number: 'sigraise 9' ends it without cleaning "
    "up.\n\n";

constexpr auto kAnywhere = ShellCommand::Needs::kNothing;
constexpr ShellCommand kCommands[] = {
    {.name = "help",
     .alias = "?",
     .arguments = {0, 1},
     .synopsis = "[command]",
     .summary = "help for one or all commands",
     .needs = kAnywhere,
     .run = run_help},
    {.name = "quit",
     .alias = "q",
     .arguments = {0, ShellCommand::kAnyNumber},
     .summary = "exit the program",
     .needs = kAnywhere,
     .run = run_quit},
    {.name = "sleep",
     .arguments = {1, 1},
     .summary = "waits for the given value in milliseconds",
     .needs = kAnywhere,
     .run = run_sleep},
    {.name = "sigraise",
     .arguments = {1, 1},
     .synopsis = "signal",
     .summary = "raises a signal",
     .details = kSigraiseDetails,
     .needs = kAnywhere,
     .run = run_sigraise},
    {.name = "abort",
     .summary = "simulate a program crash using abort(3)",
     .needs = kAnywhere,
     .run = run_abort},
};

}  // namespace

std::span<const ShellCommand> control_commands() { return kCommands; }

}  // namespace ashlar::tools::io
