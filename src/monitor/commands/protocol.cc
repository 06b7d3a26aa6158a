// Commands about the monitor itself.
#include "monitor/errors.h"
#include "monitor/monitor.h"

namespace ashlar::monitor {
namespace {

/// What changes is the session's, which sees the success.
Task<Result<Json>> capabilities(Monitor&, JsonInput) { co_return nothing(); }

Task<Result<Json>> query_version(Monitor&, JsonInput) { co_return version_info(); }

Task<Result<Json>> query_commands(Monitor& monitor, JsonInput) {
  Json list = Json::array();
  for (const Command* command : monitor.commands()) {
    Json entry = Json::object();
    entry["name"] = command->name;
    list.push_back(std::move(entry));
  }
  co_return list;
}

Task<Result<Json>> query_schema(Monitor& monitor, JsonInput) { co_return monitor.schema(); }

Task<Result<Json>> quit(Monitor&, JsonInput) { co_return nothing(); }

Task<Result<Json>> resume_all(Monitor& monitor, JsonInput) {
  const bool stopped = monitor.stopped();
  monitor.resume_all();
  if (stopped) monitor.events().emit("RESUME", Json::object());
  co_return nothing();
}

constexpr Command kCommands[] = {
    {"qmp_capabilities", "*enable:[(oob)]", "", capabilities, "begins to take commands"},
    {"query-version", "", "VersionInfo", query_version, "the version of the peer that is matched",
     Command::Oob::kAllowed},
    {"query-commands", "", "[CommandInfo]", query_commands, "the names of all commands",
     Command::Oob::kAllowed},
    {"query-qmp-schema", "", "[any]", query_schema, "every command, event and type"},
    {"quit", "", "", quit, "ends the program"},
    {"cont", "", "", resume_all, "lets requests that errors have stopped try again",
     Command::Oob::kAllowed},
};

}  // namespace

std::span<const Command> protocol_commands() { return kCommands; }

}  // namespace ashlar::monitor
