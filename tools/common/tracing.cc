// Reading of -T.
#include "tools/common/tracing.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "ashlar/options.h"
#include "tools/common/peer_text.h"

namespace ashlar::tools {
namespace {

/// An event by name does not exist; a pattern matches none, which is no mistake.
void warn_of_event(const Program& program, std::string_view event) {
  if (event.starts_with('-')) event.remove_prefix(1);
  if (event.find('*') != std::string_view::npos) return;
  program.warning(fmt::format("trace event '{}' does not exist", event));
}

}  // namespace

std::optional<int> handle_trace(Program& program, std::string_view text) {
  if (text == "help" || text == "?") return kSuccess;
  Result<OptionDict> options = OptionDict::parse_key_value(text, "enable");
  if (!options) {
    program.error(peer_text(options.error()));
    return kFailure;
  }
  const std::optional<std::string> event = options->take_text("enable");
  const std::optional<std::string> events = options->take_text("events");
  (void)options->take_text("file");  // nothing will be traced into it
  if (!options->empty()) {
    program.error(fmt::format("Invalid parameter '{}'", options->entries().front().first));
    return kFailure;
  }
  if (event) warn_of_event(program, *event);
  if (!events) return std::nullopt;
  std::ifstream lines(*events);
  if (!lines) {
    program.note(fmt::format("{}:{}: {}", program.name(), *events, std::strerror(errno)));
    return kFailure;
  }
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line[0] != '#') warn_of_event(program, line);
  }
  return std::nullopt;
}

}  // namespace ashlar::tools
