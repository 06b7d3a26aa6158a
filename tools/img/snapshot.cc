// img snapshot: lists the snapshots inside an image. Changing them needs an engine that formats do
// not have in this build: such requests are refused.
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "tools/common/image_arguments.h"
#include "tools/common/image_report.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr OptionRow kListRow{.name = "list", .letter = 'l', .help = "list all snapshots (default)"};
constexpr OptionRow kApplyRow{.name = "apply",
                              .letter = 'a',
                              .value = "SNAPSHOT",
                              .help = "go back to it; refused by this build"};
constexpr OptionRow kCreateRow{.name = "create",
                               .letter = 'c',
                               .value = "SNAPSHOT",
                               .help = "make one; refused by this build"};
constexpr OptionRow kDeleteRow{.name = "delete",
                               .letter = 'd',
                               .value = "SNAPSHOT",
                               .help = "delete it; refused by this build"};
constexpr OptionRow kOptions[] = {kListRow,   kApplyRow,     kCreateRow,     kDeleteRow,
                                  kFormatRow, kImageOptsRow, kForceShareRow, kQuietRow,
                                  kObjectRow, kUntrustedRow};

/// One of the rows above, and the snapshot it is about.
struct Action {
  std::string_view what = kListRow.name;
  std::string snapshot;
};

std::optional<Action> action_of(const Program& program, const Arguments& arguments) {
  std::optional<Action> action;
  for (const Arguments::Given& given : arguments.given()) {
    const bool is_action = given.option == kListRow.name || given.option == kApplyRow.name ||
                           given.option == kCreateRow.name || given.option == kDeleteRow.name;
    if (!is_action) continue;
    if (action) {
      usage_error(program, arguments.command().name, "Cannot mix '-l', '-a', '-c', '-d'");
      return std::nullopt;
    }
    action = Action{.what = given.option, .snapshot = std::string(given.value)};
  }
  return action ? action : Action();
}

int list(Program& program, const ImageInfo& info) {
  if (info.snapshots.empty()) return kSuccess;
  std::string text = "Snapshot list:\n";
  append_snapshot_table(text, info.snapshots);
  program.out().write(text);
  return kSuccess;
}

int refuse(const Program& program, const Action& action, const ImageInfo& info) {
  const bool found = std::ranges::any_of(info.snapshots, [&action](const SnapshotInfo& snapshot) {
    return snapshot.id == action.snapshot || snapshot.name == action.snapshot;
  });
  std::string_view why = "Operation not supported by this build";
  if (!found && action.what == kDeleteRow.name) why = "snapshot not found";
  if (!found && action.what == kApplyRow.name && !info.specific_type.empty()) {
    why = "Failed to load snapshot: No such file or directory";
  }
  program.error(fmt::format("Could not {} snapshot '{}': {}", action.what, action.snapshot, why));
  return kFailure;
}

int run(Program& program, const Arguments& arguments) {
  const auto action = action_of(program, arguments);
  if (!action || !check_operands(program, arguments, {1, 1}, "Expecting one image file name")) {
    return kFailure;
  }
  auto request = image_request(program, arguments, arguments.operands()[0]);
  if (!request) return kFailure;
  const bool lists = action->what == kListRow.name;
  request->flags.read_only = lists;
  request->flags.metadata_only = lists;
  request->flags.no_backing = true;
  const StartedSession started = start_session(program, arguments);
  if (!started.session) return started.status;
  Permissions used = Permission::kConsistentRead;
  if (!lists) used = used | Permission::kWrite;
  const BackendRef backend = open_backend(*started.session, *request, used);
  if (!backend) return kFailure;
  const ImageInfo info = backend->root()->driver().describe();
  return lists ? list(program, info) : refuse(program, *action, info);
}

}  // namespace

constinit const Command kSnapshotCommand{.name = "snapshot",
                                         .operands = "FILE",
                                         .summary = "list the snapshots inside an image",
                                         .options = kOptions,
                                         .run = run};

}  // namespace ashlar::tools
