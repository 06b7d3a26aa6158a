// Commands that change what an opened image says, and where a node is served.
#include <fmt/format.h>

#include "graph/change.h"
#include "monitor/bitmap_actions.h"
#include "monitor/errors.h"
#include "monitor/monitor.h"

namespace ashlar::monitor {
namespace {

bool is_in_chain(const Node& top, const Node& image) {
  for (const Node* at = &top; at != nullptr;) {
    if (at == &image) return true;
    at = at->spec().kind == NodeKind::kFilter ? at->primary() : at->backing();
  }
  return false;
}

/// The image that change-backing-file is about.
Result<NodeRef> image_to_rename(const Monitor& monitor, const JsonInput& arguments) {
  const std::string device = arguments["device"].get<std::string>();
  const std::string name = arguments["image-node-name"].get<std::string>();
  const Result<GraphNode*> top = find_medium(monitor, device);
  if (!top) return fail(top.error());
  for (const Edge* edge : (*top)->parents()) {
    if (edge->parent() != nullptr) return refuse("Need a root block node");
  }
  Node* image = monitor.graph().find_node(name);
  if (image == nullptr) {
    return refuse(fmt::format("Cannot find device='' nor node-name='{}'", name),
                  ErrorCode::kNotFound);
  }
  if (image->backing() == nullptr) {
    return refuse("not allowing backing file change on an image without a backing file");
  }
  if (is_in_chain(**top, *image)) return NodeRef(image);
  return refuse(fmt::format("'{}' and image file are not in the same chain", device));
}

Task<Result<void>> set_read_only(Graph& graph, std::string name, std::string value) {
  OptionDict options;
  options.set("node-name", name);
  options.set("read-only", value);
  std::vector<OptionDict> changes;
  changes.push_back(std::move(options));
  co_return co_await graph.reopen(std::move(changes));
}

/// An image below another one is read only: it is opened to write for this.
Task<Result<Json>> change_backing_file(Monitor& monitor, JsonInput arguments) {
  const Result<NodeRef> image = image_to_rename(monitor, arguments);
  if (!image) co_return fail(image.error());
  Graph& graph = monitor.graph();
  const std::string name = (*image)->name();
  const bool read_only = (*image)->flags().read_only;
  if (read_only) {
    const Result<void> writable = co_await set_read_only(graph, name, "off");
    if (!writable) co_return fail(writable.error());
  }
  const std::string wanted = arguments["backing-file"].get<std::string>();
  const Result<void> changed = co_await set_backing_name(GraphAccess::state(graph), *image, wanted);
  if (read_only) (void)co_await set_read_only(graph, name, "on");
  if (!changed) {
    co_return refuse(fmt::format("Could not change backing file to '{}': {}", wanted,
                                 monitor.text(changed.error())),
                     changed.error().code());
  }
  co_return nothing();
}

/// Whether somebody uses `node`, or a node above it, as a medium.
bool is_used(const GraphNode& node) {
  for (const Edge* edge : node.parents()) {
    if (edge->parent() == nullptr || is_used(*edge->parent())) return true;
  }
  return false;
}

/// Nodes belong to no thread here: requests run on the threads of whoever makes them. So there is
/// nothing to move, and only mistakes to find.
Task<Result<Json>> set_iothread(Monitor& monitor, JsonInput arguments) {
  const std::string name = arguments["node-name"].get<std::string>();
  const auto* node = static_cast<const GraphNode*>(monitor.graph().find_node(name));
  if (node == nullptr) {
    co_return refuse(fmt::format("Failed to find node with node-name='{}'", name),
                     ErrorCode::kNotFound);
  }
  if (is_used(*node) && !arguments.value("force", false)) {
    co_return refuse(
        fmt::format("Node {} is associated with a BlockBackend and could be in use (use force=true "
                    "to override this check)",
                    name),
        ErrorCode::kBusy);
  }
  const JsonInput& thread = arguments["iothread"];
  const std::string id = thread.is_string() ? thread.get<std::string>() : std::string();
  if (!id.empty() && monitor.objects().iothread(id) == nullptr) {
    co_return refuse(fmt::format("Cannot find iothread {}", id), ErrorCode::kNotFound);
  }
  co_return nothing();
}

constexpr Command kCommands[] = {
    {"change-backing-file", "device:str, image-node-name:str, backing-file:str", "",
     change_backing_file, "changes the name of the backing image in an image"},
    {"x-blockdev-set-iothread", "node-name:str, iothread:StrOrNull, *force:bool", "", set_iothread,
     "says that a node may be served elsewhere", Command::Oob::kNo, "unstable"},
};

}  // namespace

std::span<const Command> node_tuning_commands() { return kCommands; }

}  // namespace ashlar::monitor
