// Snapshots, dirty bitmaps, and several of such actions at once.
#include <fmt/format.h>

#include <array>

#include "graph/graph_state.h"
#include "graph/group_change.h"
#include "graph/node_bitmaps.h"
#include "monitor/bitmap_actions.h"
#include "monitor/errors.h"
#include "monitor/option_dict.h"

namespace ashlar::monitor {
namespace {

struct Action {
  std::string type;
  JsonInput data;
};

using Edit = Result<void> (BitmapEdits::*)(const JsonInput& data);
struct EditRow {
  std::string_view type;
  Edit edit;
};
constexpr std::array<EditRow, 6> kEdits{{
    {"block-dirty-bitmap-add", &BitmapEdits::add},
    {"block-dirty-bitmap-remove", &BitmapEdits::remove},
    {"block-dirty-bitmap-clear", &BitmapEdits::clear},
    {"block-dirty-bitmap-enable", &BitmapEdits::enable},
    {"block-dirty-bitmap-disable", &BitmapEdits::disable},
    {"block-dirty-bitmap-merge", &BitmapEdits::merge},
}};

Edit edit_of(const std::string& type) {
  for (const EditRow& row : kEdits) {
    if (row.type == type) return row.edit;
  }
  return nullptr;
}

/// Bitmaps are edited in the order of the actions; "abort" among them ends it.
Result<void> edit_bitmaps(BitmapEdits& edits, const std::vector<Action>& actions) {
  for (const Action& action : actions) {
    if (action.type == "abort") return refuse("Transaction aborted using Abort action");
    const Edit edit = edit_of(action.type);
    if (edit == nullptr) continue;
    if (Result<void> done = (edits.*edit)(action.data); !done) return done;
  }
  return ok();
}

/// "device" or "node-name", whichever there is.
Result<GraphNode*> snapshot_base(const Monitor& monitor, const JsonInput& data) {
  const std::string device = data.value("device", std::string());
  const std::string name = data.value("node-name", std::string());
  Result<GraphNode*> found = find_medium(monitor, device.empty() ? name : device);
  if (found) return found;
  return refuse(fmt::format("Cannot find device='{}' nor node-name='{}'", device, name),
                ErrorCode::kNotFound);
}

Task<Result<void>> create_overlay_file(Monitor& monitor, const Node& base, JsonInput data) {
  OptionDict options;
  options.set("size", std::to_string(base.size()));
  options.set("backing_file", monitor.wording().file_name(base));
  options.set("backing_fmt", std::string(base.spec().name));
  std::string filename = data["snapshot-file"].get<std::string>();
  std::string format = data.value("format", std::string("qcow2"));
  co_return co_await monitor.graph().create_image(std::move(filename), std::move(format),
                                                  std::move(options));
}

/// Makes and opens the image that blockdev-snapshot-sync describes.
Task<Result<GroupChange::Snapshot>> new_overlay(Monitor& monitor, JsonInput data) {
  const Result<GraphNode*> base = snapshot_base(monitor, data);
  if (!base) co_return fail(base.error());
  GroupChange::Snapshot snapshot;
  snapshot.node = NodeRef(*base);
  if (Result<void> free = check_snapshot_base(**base); !free) co_return fail(free.error());
  const std::string name = data.value("snapshot-node-name", std::string());
  if (name.empty() && data.contains("node-name")) co_return refuse("New overlay node-name missing");
  if (!name.empty() && monitor.graph().find_node(name) != nullptr) {
    co_return refuse("New overlay node-name already in use", ErrorCode::kExists);
  }
  const std::string format = data.value("format", std::string("qcow2"));
  const DriverSpec* spec = monitor.graph().find_driver(format);
  if (spec == nullptr) co_return refuse(fmt::format("Unknown driver '{}'", format));
  if (!spec->supports_backing) {
    co_return refuse(fmt::format("Backing file not supported for file format '{}'", format),
                     ErrorCode::kUnsupported);
  }
  if (data.value("mode", std::string("absolute-paths")) == "absolute-paths") {
    const Result<void> created = co_await create_overlay_file(monitor, **base, data);
    if (!created) co_return fail(created.error());
  }
  Graph::Image image;
  image.filename = data["snapshot-file"].get<std::string>();
  image.format = format;
  image.flags = (*base)->flags();
  image.flags.no_backing = true;
  if (!name.empty()) image.options.set("node-name", name);
  Result<NodeRef> opened = co_await monitor.graph().open_image(std::move(image));
  if (!opened) co_return fail(opened.error());
  snapshot.overlay = std::move(*opened);
  co_return snapshot;
}

Result<GroupChange::Snapshot> given_overlay(const Monitor& monitor, const JsonInput& data) {
  const Result<GraphNode*> base = find_medium(monitor, data["node"].get<std::string>());
  if (!base) return fail(base.error());
  const Result<GraphNode*> overlay = find_medium(monitor, data["overlay"].get<std::string>());
  if (!overlay) return fail(overlay.error());
  GroupChange::Snapshot snapshot;
  snapshot.node = NodeRef(*base);
  snapshot.overlay = NodeRef(*overlay);
  return snapshot;
}

/// Opens what `action` needs and notes which nodes it is about.
Task<Result<void>> prepare(Monitor& monitor, const Action& action, GroupChange& change,
                           std::vector<NodeRef>& made) {
  if (action.type == "blockdev-snapshot") {
    Result<GroupChange::Snapshot> snapshot = given_overlay(monitor, action.data);
    if (!snapshot) co_return fail(snapshot.error());
    change.snapshots.push_back(std::move(*snapshot));
  } else if (action.type == "blockdev-snapshot-sync") {
    Result<GroupChange::Snapshot> snapshot = co_await new_overlay(monitor, action.data);
    if (!snapshot) co_return fail(snapshot.error());
    made.push_back(snapshot->overlay);
    change.snapshots.push_back(std::move(*snapshot));
  } else if (edit_of(action.type) != nullptr) {
    const Result<std::vector<GraphNode*>> nodes = nodes_of_bitmap_action(monitor, action.data);
    if (!nodes) co_return fail(nodes.error());
    for (GraphNode* node : *nodes) change.edited.emplace_back(node);
  }
  co_return ok();
}

/// What stands below an overlay is not written any more: others may read it, and its bitmaps are
/// saved. Nodes that refuse stay as they are.
Task<void> make_bases_read_only(Monitor& monitor, std::vector<std::string> names) {
  for (const std::string& name : names) {
    OptionDict options;
    options.set("node-name", name);
    options.set("read-only", true);
    std::vector<OptionDict> changes;
    changes.push_back(std::move(options));
    (void)co_await monitor.graph().reopen(std::move(changes));
  }
}

Task<Result<Json>> run_actions(Monitor& monitor, std::vector<Action> actions) {
  GroupChange change;
  std::vector<NodeRef> made;
  for (const Action& action : actions) {
    const Result<void> prepared = co_await prepare(monitor, action, change, made);
    if (!prepared) co_return fail(prepared.error());
  }
  std::vector<std::string> bases;
  for (const GroupChange::Snapshot& each : change.snapshots) {
    if (!each.node->flags().read_only) bases.push_back(each.node->name());
  }
  BitmapEdits edits(monitor);
  change.edit = [&edits, &actions] { return edit_bitmaps(edits, actions); };
  GraphState& state = GraphAccess::state(monitor.graph());
  const Result<void> done = co_await change_group(state, std::move(change));
  if (!done) co_return fail(done.error());
  edits.keep();
  for (NodeRef& overlay : made) monitor.own_node(std::move(overlay));
  co_await make_bases_read_only(monitor, std::move(bases));
  co_return nothing();
}

Task<Result<Json>> transaction(Monitor& monitor, JsonInput arguments) {
  std::vector<Action> actions;
  for (JsonInput& each : arguments["actions"]) {
    Action action;
    action.type = each["type"].get<std::string>();
    action.data = std::move(each["data"]);
    actions.push_back(std::move(action));
  }
  co_return co_await run_actions(monitor, std::move(actions));
}

/// A command that is a transaction of one action.
template <const char* type>
Task<Result<Json>> run_one(Monitor& monitor, JsonInput arguments) {
  std::vector<Action> actions(1);
  actions[0].type = type;
  actions[0].data = std::move(arguments);
  co_return co_await run_actions(monitor, std::move(actions));
}

Task<Result<Json>> digest(Monitor& monitor, JsonInput arguments) {
  const Result<GraphNode*> node = find_medium(monitor, arguments["node"].get<std::string>());
  if (!node) co_return fail(node.error());
  const NodeRef open(*node);
  if ((*node)->read_only()) {
    const Result<void> loaded = co_await load_bitmaps(**node);
    if (!loaded) co_return fail(loaded.error());
  }
  const std::string name = arguments["name"].get<std::string>();
  const Result<std::string> text = bitmap_digest(**node, name);
  if (!text) co_return fail(text.error());
  Json answer = Json::object();
  answer["sha256"] = *text;
  co_return answer;
}

constexpr char kAdd[] = "block-dirty-bitmap-add";
constexpr char kRemove[] = "block-dirty-bitmap-remove";
constexpr char kClear[] = "block-dirty-bitmap-clear";
constexpr char kEnable[] = "block-dirty-bitmap-enable";
constexpr char kDisable[] = "block-dirty-bitmap-disable";
constexpr char kMerge[] = "block-dirty-bitmap-merge";
constexpr char kSnapshot[] = "blockdev-snapshot";
constexpr char kSnapshotSync[] = "blockdev-snapshot-sync";

constexpr Command kCommands[] = {
    {kAdd, "@BlockDirtyBitmapAdd", "", run_one<kAdd>, "makes a bitmap that notes writes"},
    {kRemove, "@BlockDirtyBitmap", "", run_one<kRemove>, "removes a bitmap"},
    {kClear, "@BlockDirtyBitmap", "", run_one<kClear>, "nothing counts as written any more"},
    {kEnable, "@BlockDirtyBitmap", "", run_one<kEnable>, "notes writes from now on"},
    {kDisable, "@BlockDirtyBitmap", "", run_one<kDisable>, "notes writes no more"},
    {kMerge, "@BlockDirtyBitmapMerge", "", run_one<kMerge>, "adds what other bitmaps have"},
    {"x-debug-block-dirty-bitmap-sha256", "@BlockDirtyBitmap", "BlockDirtyBitmapSha256", digest,
     "a digest of the bits", Command::Oob::kNo, "unstable"},
    {kSnapshot, "@BlockdevSnapshot", "", run_one<kSnapshot>, "puts an overlay on a node",
     Command::Oob::kNo, "allow-write-only-overlay"},
    {kSnapshotSync, "@BlockdevSnapshotSync", "", run_one<kSnapshotSync>,
     "makes an overlay and puts it on a node"},
    {"transaction", "actions:[TransactionAction], *properties:TransactionProperties", "",
     transaction, "does several things at once, all or none"},
};

struct ObjectRow {
  std::string_view name;
  std::string_view members;
};
constexpr ObjectRow kObjects[] = {
    {"Abort", ""},
    {"BlockDirtyBitmap", "node:str, name:str"},
    {"BlockDirtyBitmapAdd",
     "node:str, name:str, *granularity:count, *persistent:bool, *disabled:bool"},
    {"BlockDirtyBitmapMerge", "node:str, target:str, bitmaps:[BitmapOrName]"},
    {"BlockDirtyBitmapSha256", "sha256:str"},
    {"BlockdevSnapshot", "node:str, overlay:str"},
    {"BlockdevSnapshotSync",
     "*device:str, *node-name:str, snapshot-file:str, *snapshot-node-name:str, *format:str, "
     "*mode:(existing absolute-paths)"},
    {"TransactionProperties", "*completion-mode:(individual grouped)"},
};
struct ActionRow {
  std::string_view type;
  std::string_view data;
};
constexpr ActionRow kActions[] = {
    {"abort", "Abort"},
    {kAdd, "BlockDirtyBitmapAdd"},
    {kRemove, "BlockDirtyBitmap"},
    {kClear, "BlockDirtyBitmap"},
    {kEnable, "BlockDirtyBitmap"},
    {kDisable, "BlockDirtyBitmap"},
    {kMerge, "BlockDirtyBitmapMerge"},
    {kSnapshot, "BlockdevSnapshot"},
    {kSnapshotSync, "BlockdevSnapshotSync"},
};

}  // namespace

std::span<const Command> transaction_commands() { return kCommands; }

void define_transaction_types(Types& types) {
  for (const ObjectRow& row : kObjects) types.define_object(row.name, row.members);
  std::vector<std::string> names;
  for (const ActionRow& row : kActions) names.emplace_back(row.type);
  types.define_enum("TransactionActionKind", std::move(names));
  Type& action = types.define_object("TransactionAction", "type:TransactionActionKind");
  action.tag = "type";
  for (const ActionRow& row : kActions) {
    const std::string name = fmt::format("TransactionAction/{}", row.type);
    const std::string members = fmt::format("data:{}", row.data);
    action.cases[std::string(row.type)] = &types.define_object(name, members);
  }
}

}  // namespace ashlar::monitor
