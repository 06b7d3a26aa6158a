// Commands that open, change and close nodes.
#include <fmt/format.h>

#include <algorithm>

#include "graph/create_in_node.h"
#include "graph/graph_node.h"
#include "monitor/driver_types.h"
#include "monitor/errors.h"
#include "monitor/monitor.h"
#include "monitor/option_dict.h"

namespace ashlar::monitor {
namespace {

std::string text_of(const JsonInput& arguments, const char* name) {
  return arguments.value(name, std::string());
}

Task<Result<Json>> blockdev_add(Monitor& monitor, JsonInput arguments) {
  if (!arguments.contains("node-name")) {
    co_return refuse("'node-name' must be specified for the root node");
  }
  Result<OptionDict> options = to_options(arguments);
  if (!options) co_return fail(options.error());
  Result<NodeRef> opened = co_await monitor.graph().open(std::move(*options));
  if (!opened) co_return fail(opened.error());
  monitor.own_node(std::move(*opened));
  co_return nothing();
}

/// Whether a node (and not a backend) stands on the one called `name`.
bool is_child(const Graph& graph, std::string_view name) {
  return std::ranges::any_of(graph.nodes(), [name](const Node* node) {
    const auto children = node->children();
    return std::ranges::any_of(
        children, [name](const Node::ChildLink& link) { return link.node->name() == name; });
  });
}

Task<Result<Json>> blockdev_del(Monitor& monitor, JsonInput arguments) {
  const std::string name = text_of(arguments, "node-name");
  Graph& graph = monitor.graph();
  if (graph.find_node(name) == nullptr) {
    co_return refuse(fmt::format("Failed to find node with node-name='{}'", name),
                     ErrorCode::kNotFound);
  }
  if (!monitor.owns_node(name)) {
    co_return refuse(fmt::format("Node {} is not owned by the monitor", name));
  }
  Result<void> removed = co_await graph.remove_node(name);
  if (!removed && removed.error().code() == ErrorCode::kBusy) {
    const char* what = is_child(graph, name) ? "Block device" : "Node";
    co_return refuse(fmt::format("{} {} is in use", what, name), ErrorCode::kBusy);
  }
  // Gone in any case: an error is one of its last writes.
  monitor.disown_node(name);
  if (!removed) co_return fail(removed.error());
  co_return nothing();
}

Task<Result<Json>> blockdev_reopen(Monitor& monitor, JsonInput arguments) {
  std::vector<OptionDict> changes;
  for (const JsonInput& each : arguments["options"]) {
    if (!each.contains("node-name")) co_return refuse("node-name not specified");
    Result<OptionDict> options = to_options(each);
    if (!options) co_return fail(options.error());
    changes.push_back(std::move(*options));
  }
  Result<void> done = co_await monitor.graph().reopen(std::move(changes));
  if (!done) co_return fail(done.error());
  co_return nothing();
}

/// The backend that `device` names, or one around the node `node-name` for the time being.
Task<Result<BackendRef>> backend_for(Monitor& monitor, std::string device, std::string name) {
  Graph& graph = monitor.graph();
  if (BackendRef found = graph.find_backend(device)) co_return std::move(found);
  Node* node = graph.find_node(name);
  if (node == nullptr) {
    co_return refuse(fmt::format("Cannot find device='{}' nor node-name='{}'", device, name),
                     ErrorCode::kNotFound);
  }
  Result<BackendRef> made = graph.create_backend();
  if (!made) co_return made;
  NodeRef medium(node);
  Result<void> inserted = co_await (*made)->insert_medium(std::move(medium));
  if (!inserted) co_return fail(inserted.error());
  co_return made;
}

Task<Result<Json>> block_resize(Monitor& monitor, JsonInput arguments) {
  const int64_t size = arguments["size"].get<int64_t>();
  std::string device = text_of(arguments, "device");
  std::string name = text_of(arguments, "node-name");
  Result<BackendRef> backend = co_await backend_for(monitor, std::move(device), std::move(name));
  if (!backend) co_return fail(backend.error());
  if (size < 0) co_return refuse("Parameter 'size' expects a >0 size");
  Result<void> done = co_await (*backend)->resize(static_cast<uint64_t>(size), ResizeFlags());
  if ((*backend)->name().empty()) {
    (void)co_await (*backend)->eject_medium(Backend::Eject::kForce);
  }
  if (!done) co_return fail(done.error());
  co_return nothing();
}

/// Creates a file of a storage driver.
Task<Result<void>> create_file(const DriverSpec& storage, OptionDict options) {
  const std::string filename = options.take_text("filename").value_or("");
  co_return co_await storage.create_file(filename, std::move(options));
}

/// Members as the options are called that `-o` takes.
OptionDict create_options(const DriverSpec& spec, const OptionDict& members) {
  OptionDict options;
  for (const auto& [member, value] : members.entries()) {
    std::string name = member;
    if (spec.create_options != nullptr) {
      for (const OptionDescription& row : spec.create_options()) {
        if (create_member_name(row.name) == member) name = std::string(row.name);
      }
    }
    options.set(name, value);
  }
  return options;
}

/// Where an image is to be created: in the node called `name`, or in one that is opened for it.
struct Place {
  std::optional<std::string> name;
  OptionDict options;
};

Task<Result<void>> create_format(Graph& graph, std::string format, Place place,
                                 OptionDict options) {
  Result<NodeRef> file = NodeRef();
  if (place.name) {
    Node* node = graph.find_node(*place.name);
    if (node == nullptr) {
      co_return refuse(fmt::format("Cannot find device='{0}' nor node-name='{0}'", *place.name),
                       ErrorCode::kNotFound);
    }
    file = NodeRef(node);
  } else {
    file = co_await graph.open(std::move(place.options));
  }
  if (!file) co_return fail(file.error());
  Result<void> created = co_await create_image_in(GraphAccess::state(graph), std::move(*file),
                                                  std::move(format), std::move(options));
  co_await graph.settle();
  co_return created;
}

Task<Result<Json>> blockdev_create(Monitor& monitor, JsonInput arguments) {
  const JsonInput& wanted = arguments["options"];
  const DriverSpec* spec = monitor.graph().find_driver(wanted["driver"].get<std::string>());
  if (spec == nullptr || (spec->create_file == nullptr && spec->create == nullptr)) {
    co_return refuse("Driver does not support blockdev-create");
  }
  Result<OptionDict> members = to_options(wanted);
  if (!members) co_return fail(members.error());
  members->erase("driver");
  Task<Result<void>> work;
  if (spec->create != nullptr) {
    Place place = {members->take_text("file"), members->take_subtree("file")};
    work = create_format(monitor.graph(), std::string(spec->name), std::move(place),
                         create_options(*spec, *members));
  } else {
    work = create_file(*spec, create_options(*spec, *members));
  }
  const std::string id = arguments["job-id"].get<std::string>();
  Result<void> started = monitor.jobs().start(id, "create", std::move(work));
  if (!started) co_return fail(started.error());
  co_return nothing();
}

Task<Result<Json>> set_write_threshold(Monitor& monitor, JsonInput arguments) {
  const std::string name = text_of(arguments, "node-name");
  auto* node = static_cast<GraphNode*>(monitor.graph().find_node(name));
  if (node == nullptr) {
    co_return refuse(fmt::format("Device '{}' not found", name), ErrorCode::kNotFound);
  }
  const auto tell = [&monitor](const std::string& which, WriteWatch::Exceeded exceeded) {
    Json data = {{"node-name", which},
                 {"amount-exceeded", exceeded.amount},
                 {"write-threshold", exceeded.threshold}};
    monitor.events().emit("BLOCK_WRITE_THRESHOLD", std::move(data));
  };
  node->watch().set_threshold(arguments["write-threshold"].get<uint64_t>(), tell);
  co_return nothing();
}

/// No driver of this build has children that come and go.
Task<Result<Json>> change_child(Monitor& monitor, JsonInput arguments) {
  const std::string parent = text_of(arguments, "parent");
  const Graph& graph = monitor.graph();
  if (graph.find_node(parent) == nullptr && !graph.find_backend(parent)) {
    co_return refuse(fmt::format("Cannot find device='{0}' nor node-name='{0}'", parent),
                     ErrorCode::kNotFound);
  }
  const bool adds = arguments.contains("node");
  if (adds == arguments.contains("child")) {
    co_return refuse(adds ? "The parameters child and node are in conflict"
                          : "Either child or node must be specified");
  }
  const std::string node = text_of(arguments, "node");
  if (adds && graph.find_node(node) == nullptr) {
    co_return refuse(fmt::format("Node '{}' not found", node), ErrorCode::kNotFound);
  }
  co_return refuse(
      fmt::format("The node {} does not support {} a child", parent, adds ? "adding" : "removing"),
      ErrorCode::kUnsupported);
}

constexpr Command kCommands[] = {
    {"blockdev-add", "@BlockdevOptions", "", blockdev_add, "opens a node"},
    {"blockdev-reopen", "options:[BlockdevOptions]", "", blockdev_reopen,
     "changes options of nodes, all or none"},
    {"blockdev-del", "node-name:str", "", blockdev_del, "closes a node that nobody uses"},
    {"blockdev-create", "job-id:str, options:BlockdevCreateOptions", "", blockdev_create,
     "creates a file, or an image in a node"},
    {"block_resize", "*device:str, *node-name:str, size:int", "", block_resize,
     "changes the size of a medium"},
    {"block-set-write-threshold", "node-name:str, write-threshold:count", "", set_write_threshold,
     "tells once when a node is written beyond a place"},
    {"x-blockdev-change", "parent:str, *child:str, *node:str", "", change_child,
     "adds or removes a child", Command::Oob::kNo, "unstable"},
};

}  // namespace

std::span<const Command> node_commands() { return kCommands; }

}  // namespace ashlar::monitor
