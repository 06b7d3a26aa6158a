// Commands of the shell that stop requests at points inside the drivers. No driver of this build
// has such points, so that each answers what it answers for images without them.
#include <fmt/format.h>

#include "tools/io/commands.h"

namespace ashlar::tools::io {
namespace {

constexpr std::string_view kUnsupported = "Operation not supported";

Outcome run_break(Shell& shell, Words) {
  return shell.fail_with(fmt::format("Could not set breakpoint: {}", kUnsupported));
}

Outcome run_wait_break(Shell& shell, Words words) {
  return shell.fail_with(
      fmt::format("Could not wait for breakpoint {}: {}", words[1], kUnsupported));
}

Outcome run_resume(Shell& shell, Words) {
  return shell.fail_with(fmt::format("Could not resume request: {}", kUnsupported));
}

Outcome run_remove_break(Shell& shell, Words words) {
  return shell.fail_with(fmt::format("Could not remove breakpoint {}: {}", words[1], kUnsupported));
}

constexpr ShellCommand kCommands[] = {
    {.name = "break",
     .arguments = {2, 2},
     .synopsis = "event tag",
     .summary = "sets a breakpoint on event and tags the stopped request as tag",
     .run = run_break},
    {.name = "wait_break",
     .arguments = {1, 1},
     .synopsis = "tag",
     .summary = "waits for the suspension of a request",
     .run = run_wait_break},
    {.name = "resume",
     .arguments = {1, 1},
     .synopsis = "tag",
     .summary = "resumes the request tagged as tag",
     .run = run_resume},
    {.name = "remove_break",
     .arguments = {1, 1},
     .synopsis = "tag",
     .summary = "remove a breakpoint by tag",
     .run = run_remove_break},
};

}  // namespace

std::span<const ShellCommand> breakpoint_commands() { return kCommands; }

}  // namespace ashlar::tools::io
