// Commands about exports.
#include <fmt/format.h>

#include "monitor/errors.h"
#include "monitor/monitor.h"
#include "monitor/option_dict.h"

namespace ashlar::monitor {
namespace {

Task<Result<Json>> export_add(Monitor& monitor, JsonInput arguments) {
  Monitor::Policies policies{ErrorPolicy::kReport, ErrorPolicy::kReport};
  const bool own_policies = take_policies(arguments, policies);
  const std::string id = arguments["id"].get<std::string>();
  Result<OptionDict> options = to_options(arguments);
  if (!options) co_return fail(options.error());
  Result<void> added = co_await monitor.exports().add(std::move(*options));
  if (!added) co_return fail(added.error());
  const BackendRef backend = monitor.exports().backend_of(id);
  if (own_policies && backend) monitor.set_policies(*backend, policies);
  co_return nothing();
}

Task<Result<Json>> export_del(Monitor& monitor, JsonInput arguments) {
  using Removal = ExportRegistry::Removal;
  const std::string id = arguments["id"].get<std::string>();
  const bool hard = arguments.value("mode", std::string("safe")) == "hard";
  Result<void> removed =
      co_await monitor.exports().remove(id, hard ? Removal::kHard : Removal::kSafe);
  if (!removed) co_return fail(removed.error());
  co_return nothing();
}

Task<Result<Json>> query_exports(Monitor& monitor, JsonInput) {
  Json list = Json::array();
  for (const ExportRegistry::Listed& each : monitor.exports().list()) {
    Json entry = {{"node-name", each.node_name},
                  {"shutting-down", each.shutting_down},
                  {"type", each.type},
                  {"id", each.id}};
    if (!each.backend->name().empty()) entry["backend"] = each.backend->name();
    list.push_back(std::move(entry));
  }
  co_return list;
}

constexpr Command kCommands[] = {
    {"block-export-add", "@BlockExportOptions", "", export_add, "starts an export"},
    {"block-export-del", "id:str, *mode:(safe hard)", "", export_del, "ends an export"},
    {"query-block-exports", "", "[BlockExportInfo]", query_exports, "the exports that run",
     Command::Oob::kAllowed},
};

}  // namespace

std::span<const Command> export_commands() { return kCommands; }

}  // namespace ashlar::monitor
