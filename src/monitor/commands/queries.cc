// Commands that show nodes, backends and the graph.
#include <fmt/format.h>

#include <algorithm>

#include "graph/node_bitmaps.h"
#include "monitor/bitmap_actions.h"
#include "monitor/errors.h"
#include "monitor/graph_view.h"
#include "monitor/monitor.h"

namespace ashlar::monitor {
namespace {

std::string_view detect_zeroes_word(OpenFlags::DetectZeroes mode) {
  switch (mode) {
    case OpenFlags::DetectZeroes::kOff:
      return "off";
    case OpenFlags::DetectZeroes::kOn:
      return "on";
    case OpenFlags::DetectZeroes::kUnmap:
      return "unmap";
  }
  return "off";
}

unsigned backing_depth(const Node& node) {
  unsigned depth = 0;
  for (const Node* below = node.backing(); below != nullptr; below = below->backing()) ++depth;
  return depth;
}

enum class Chain : uint8_t { kWhole, kTopOnly };

/// An image and, as "backing-image", what it stands on.
Json image_info(const Monitor& monitor, const Node& node, Chain chain) {
  Json info = Json::parse(monitor.wording().image(node));
  if (chain == Chain::kWhole && node.backing() != nullptr) {
    info["backing-image"] = image_info(monitor, *node.backing(), chain);
  }
  return info;
}

Json device_info(const Monitor& monitor, Node& node, Chain chain) {
  const OpenFlags& flags = node.flags();
  Json info = {{"iops_rd", 0},
               {"detect_zeroes", detect_zeroes_word(flags.detect_zeroes)},
               {"image", image_info(monitor, node, chain)},
               {"iops_wr", 0},
               {"ro", flags.read_only},
               {"node-name", node.name()},
               {"backing_file_depth", backing_depth(node)},
               {"drv", node.spec().name},
               {"iops", 0},
               {"bps_wr", 0},
               {"write_threshold", static_cast<GraphNode&>(node).watch().threshold()}};
  if (Json bitmaps = bitmaps_info(static_cast<GraphNode&>(node)); !bitmaps.empty()) {
    info["dirty-bitmaps"] = std::move(bitmaps);
  }
  if (const Node* backing = node.backing()) {
    info["backing_file"] = monitor.wording().file_name(*backing);
  }
  info["encrypted"] = node.driver().describe().encrypted;
  info["bps"] = 0;
  info["bps_rd"] = 0;
  info["cache"] = {
      {"no-flush", flags.cache_no_flush}, {"direct", flags.cache_direct}, {"writeback", true}};
  info["file"] = monitor.wording().file_name(node);
  return info;
}

Chain chain_of(const JsonInput& arguments) {
  return arguments.value("flat", false) ? Chain::kTopOnly : Chain::kWhole;
}

/// Bitmaps of images that are only read are looked for when somebody asks.
Task<Result<void>> load_read_only_bitmaps(const Graph& graph) {
  std::vector<NodeRef> nodes;
  for (Node* node : graph.nodes()) {
    if (node->flags().read_only) nodes.emplace_back(node);
  }
  for (const NodeRef& node : nodes) {
    Result<void> loaded = co_await load_bitmaps(static_cast<GraphNode&>(*node));
    if (!loaded) co_return loaded;
  }
  co_return ok();
}

Task<Result<Json>> query_nodes(Monitor& monitor, JsonInput arguments) {
  const Result<void> loaded = co_await load_read_only_bitmaps(monitor.graph());
  if (!loaded) co_return fail(loaded.error());
  Json list = Json::array();
  const std::vector<Node*> nodes = monitor.graph().nodes();
  for (size_t at = nodes.size(); at-- > 0;) {
    list.push_back(device_info(monitor, *nodes[at], chain_of(arguments)));
  }
  co_return list;
}

std::string_view io_status_word(Monitor::BackendRecord::Status status) {
  using Status = Monitor::BackendRecord::Status;
  switch (status) {
    case Status::kOk:
      return "ok";
    case Status::kFailed:
      return "failed";
    case Status::kNoSpace:
      return "nospace";
  }
  return "ok";
}

bool may_stop(ErrorPolicy policy) {
  return policy == ErrorPolicy::kStop || policy == ErrorPolicy::kStopOnNoSpace;
}

/// What block_set_io_throttle calls a limit: "bps-read-max" is "bps_rd_max".
std::string limit_member(std::string name) {
  for (const auto& [from, to] : {std::pair<std::string_view, std::string_view>{"-total", ""},
                                 {"-read", "-rd"},
                                 {"-write", "-wr"}}) {
    const size_t at = name.find(from);
    if (at != name.npos) name.replace(at, from.size(), to);
  }
  std::ranges::replace(name, '-', '_');
  return name;
}

void show_limits(Json& info, const ThrottleGroup& group) {
  for (const auto& [name, value] : group.limits().entries()) {
    const bool detail = name.ends_with("-max") || name.ends_with("-length") || name == "iops-size";
    // Details are there where they say something.
    if (value != 0 || !detail) info[limit_member(name)] = value;
  }
  info["group"] = group.name();
}

Json block_info(Monitor& monitor, const std::string& id, Chain chain) {
  const Monitor::BackendRecord& record = *monitor.find_backend(id);
  const DeviceCallbacks* device = record.backend->device();
  Json info = {{"device", id},
               {"locked", device != nullptr && device->tray_locked()},
               {"removable", record.removable}};
  if (Node* root = record.backend->root()) info["inserted"] = device_info(monitor, *root, chain);
  const std::shared_ptr<ThrottleGroup> group = record.backend->throttle();
  if (group != nullptr && info.contains("inserted")) show_limits(info["inserted"], *group);
  if (device != nullptr) {
    info["qdev"] = device->describe();
    if (device->has_tray()) info["tray_open"] = device->tray_open();
  }
  if (may_stop(record.policies.on_read) || may_stop(record.policies.on_write)) {
    info["io-status"] = io_status_word(record.io_status);
  }
  info["type"] = "unknown";
  return info;
}

Task<Result<Json>> query_block(Monitor& monitor, JsonInput arguments) {
  const Result<void> loaded = co_await load_read_only_bitmaps(monitor.graph());
  if (!loaded) co_return fail(loaded.error());
  Json list = Json::array();
  for (const std::string& id : monitor.backend_names()) {
    list.push_back(block_info(monitor, id, chain_of(arguments)));
  }
  co_return list;
}

Json statistics(const BackendStatistics& counted) {
  Json stats = Json::object();
  const auto set = [&stats](const char* name, uint64_t value) { stats[name] = value; };
  set("rd_bytes", counted.read_bytes);
  set("wr_bytes", counted.written_bytes);
  set("unmap_bytes", counted.discarded_bytes);
  set("rd_operations", counted.reads);
  set("wr_operations", counted.writes + counted.zero_writes);
  set("flush_operations", counted.flushes);
  set("unmap_operations", counted.discards);
  set("failed_rd_operations", counted.failed_reads);
  set("failed_wr_operations", counted.failed_writes);
  for (const char* zero :
       {"rd_total_time_ns", "wr_total_time_ns", "flush_total_time_ns", "unmap_total_time_ns",
        "wr_highest_offset", "rd_merged", "wr_merged", "unmap_merged", "failed_flush_operations",
        "failed_unmap_operations", "invalid_rd_operations", "invalid_wr_operations",
        "invalid_flush_operations", "invalid_unmap_operations"}) {
    set(zero, 0);
  }
  stats["account_invalid"] = false;
  stats["account_failed"] = true;
  stats["timed_stats"] = Json::array();
  return stats;
}

/// A node's own entry; requests are counted where they come in, at backends.
Json node_stats(const Node& node, const BackendStatistics& counted) {
  Json entry = {{"stats", statistics(counted)}, {"node-name", node.name()}};
  if (const Node* primary = node.primary()) entry["parent"] = node_stats(*primary, {});
  if (const Node* backing = node.backing()) entry["backing"] = node_stats(*backing, {});
  return entry;
}

Task<Result<Json>> query_stats(Monitor& monitor, JsonInput arguments) {
  Json list = Json::array();
  if (arguments.value("query-nodes", false)) {
    for (const Node* node : monitor.graph().nodes()) list.push_back(node_stats(*node, {}));
    co_return list;
  }
  for (const std::string& id : monitor.backend_names()) {
    const Backend& backend = *monitor.find_backend(id)->backend;
    const Node* root = backend.root();
    Json entry = {{"device", id}};
    if (root == nullptr) {
      entry["stats"] = statistics(backend.statistics());
    } else {
      entry.update(node_stats(*root, backend.statistics()));
    }
    if (const DeviceCallbacks* device = backend.device()) entry["qdev"] = device->describe();
    list.push_back(std::move(entry));
  }
  co_return list;
}

Json permission_words(Permissions permissions) {
  Json words = Json::array();
  constexpr std::pair<Permission, const char*> kWords[] = {
      {Permission::kResize, "resize"},
      {Permission::kWriteUnchanged, "write-unchanged"},
      {Permission::kWrite, "write"},
      {Permission::kConsistentRead, "consistent-read"},
  };
  for (const auto& [permission, word] : kWords) {
    if (permissions.has(permission)) words.push_back(word);
  }
  return words;
}

Task<Result<Json>> query_graph(Monitor& monitor, JsonInput) {
  const GraphView view = view_graph(monitor.graph());
  Json graph = {{"edges", Json::array()}, {"nodes", Json::array()}};
  for (const GraphView::Link& link : view.links) {
    Json edge = {{"name", link.name},
                 {"parent", link.parent + 1},
                 {"shared-perm", permission_words(link.shared)},
                 {"perm", permission_words(link.used)},
                 {"child", link.child + 1}};
    graph["edges"].push_back(std::move(edge));
  }
  for (size_t index = 0; index < view.items.size(); ++index) {
    const bool node = view.items[index].kind == GraphView::Item::Kind::kNode;
    Json item = {{"name", view.items[index].name},
                 {"type", node ? "block-driver" : "block-backend"},
                 {"id", index + 1}};
    graph["nodes"].push_back(std::move(item));
  }
  co_return graph;
}

Task<Result<Json>> draw_graph(Monitor& monitor, JsonInput arguments) {
  const GraphView view = view_graph(monitor.graph());
  const bool svg = arguments.value("format", std::string("dot")) == "svg";
  Json drawing = Json::object();
  drawing["text"] = svg ? to_svg(view) : to_dot(view);
  co_return drawing;
}

constexpr Command kCommands[] = {
    {"query-block", "*flat:bool", "[BlockInfo]", query_block, "all named backends"},
    {"query-named-block-nodes", "*flat:bool", "[BlockDeviceInfo]", query_nodes, "all nodes"},
    {"query-blockstats", "*query-nodes:bool", "[BlockStats]", query_stats,
     "counters of backends or nodes"},
    {"x-debug-query-block-graph", "", "BlockGraph", query_graph, "the graph with permissions",
     Command::Oob::kNo, "unstable"},
    {"x-draw-block-graph", "*format:(dot svg)", "BlockGraphDrawing", draw_graph,
     "the graph as DOT or SVG", Command::Oob::kNo, "unstable"},
};

}  // namespace

std::span<const Command> query_commands() { return kCommands; }

}  // namespace ashlar::monitor
