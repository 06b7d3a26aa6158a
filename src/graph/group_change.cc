// Snapshots and edits of bitmaps between two requests.
#include "graph/group_change.h"

#include <fmt/format.h>

#include <algorithm>

#include "graph/change.h"
#include "graph/graph_state.h"
#include "graph/held_requests.h"
#include "graph/node_bitmaps.h"
#include "graph/transaction.h"

namespace ashlar {

Result<void> check_snapshot_base(const Node& node) {
  for (const Edge* edge : static_cast<const GraphNode&>(node).parents()) {
    if (edge->role() != ChildRole::kBacking) continue;
    return fail(Error(ErrorCode::kBusy, fmt::format("node \"{}\" is the backing image of {}",
                                                    node.name(), edge->user()))
                    .because("node-is-backing", {node.name(), edge->parent()->name()}));
  }
  return ok();
}

namespace {

GraphNode& node_of(const NodeRef& ref) { return static_cast<GraphNode&>(*ref); }

Result<void> check_overlay(const GraphNode& overlay) {
  const auto refuse = [&overlay](ErrorCode code, std::string_view what, std::string_view reason) {
    return fail(Error(code, fmt::format("overlay \"{}\" {}", overlay.name(), what))
                    .because(reason, {overlay.name()}));
  };
  if (!overlay.parents().empty()) {
    return refuse(ErrorCode::kBusy, "is in use by " + overlay.parents().front()->user(),
                  "overlay-in-use");
  }
  if (!overlay.spec().supports_backing) {
    return refuse(ErrorCode::kUnsupported, "is of a format without backing images",
                  "overlay-unsupported");
  }
  if (overlay.backing_edge() == nullptr) return ok();
  return refuse(ErrorCode::kBusy, "has a backing image already", "overlay-has-backing");
}

Result<void> stack(Transaction& transaction, GraphNode& node, GraphNode& overlay) {
  if (Result<void> base = check_snapshot_base(node); !base) return base;
  if (Result<void> free = check_overlay(overlay); !free) return free;
  if (&node == &overlay) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("node \"{}\" cannot stand on itself", node.name()))
                    .because("overlay-is-node", {node.name()}));
  }
  if (Result<void> possible = check_new_backing(overlay, &node); !possible) return possible;
  const std::vector<Edge*> parents(node.parents().begin(), node.parents().end());
  Edge& edge = transaction.add_edge(overlay, "backing", ChildRole::kBacking);
  if (Result<void> pointed = transaction.point(edge, &node); !pointed) return pointed;
  for (Edge* parent : parents) {
    if (Result<void> moved = transaction.point(*parent, &overlay); !moved) return moved;
  }
  return ok();
}

/// Where what was written to `node` is kept back, if anywhere.
Driver& flushed_driver(GraphNode& node) {
  GraphNode* at = &node;
  while (at->format() != nullptr && at->info_ref().cluster_size == 0 && at->primary() != nullptr) {
    at = static_cast<GraphNode*>(at->primary());
  }
  return at->driver();
}

/// What is below an overlay is not written any more: what was belongs on the disk.
Task<Result<void>> flush_bases(const std::vector<GroupChange::Snapshot>& snapshots) {
  for (const GroupChange::Snapshot& each : snapshots) {
    GraphNode& node = node_of(each.node);
    if (node.read_only()) continue;
    Result<void> done = co_await flushed_driver(node).flush();
    if (done) done = co_await save_bitmaps(node);
    if (!done) co_return done;
  }
  co_return ok();
}

Task<Result<void>> prepare_bitmaps(const std::vector<NodeRef>& nodes) {
  for (const NodeRef& ref : nodes) {
    GraphNode& node = node_of(ref);
    Result<void> done;
    if (node.read_only()) {
      done = co_await load_bitmaps(node);
    } else {
      done = co_await mark_bitmaps(node);
    }
    if (!done) co_return done;
  }
  co_return ok();
}

/// Images that name their backing image need not be shown with it.
bool names_itself(const GraphNode& overlay, const GraphNode& node) {
  const std::optional<Reference> named = overlay.driver().backing_reference();
  return named && named->name == node.filename();
}

}  // namespace

Task<Result<void>> change_group(GraphState& graph, GroupChange change) {
  const Mutex::Guard changing = co_await graph.changes().lock();
  std::vector<GraphNode*> nodes;
  nodes.reserve(change.edited.size() + change.snapshots.size());
  for (const NodeRef& ref : change.edited) nodes.push_back(&node_of(ref));
  std::vector<RootUser*> users;
  for (const GroupChange::Snapshot& each : change.snapshots) {
    nodes.push_back(&node_of(each.node));
    for (RootUser* user : users_above(node_of(each.node))) users.push_back(user);
  }
  const HeldRequests held = co_await HeldRequests::above(std::move(nodes));
  Result<void> done = co_await prepare_bitmaps(change.edited);
  if (done) done = co_await flush_bases(change.snapshots);
  if (done && change.edit) done = change.edit();
  if (!done) co_return done;
  Transaction transaction(graph);
  for (const GroupChange::Snapshot& each : change.snapshots) {
    done = stack(transaction, node_of(each.node), node_of(each.overlay));
    if (!done) co_return done;
  }
  done = transaction.apply();
  if (!done) co_return done;
  transaction.commit();
  for (const GroupChange::Snapshot& each : change.snapshots) {
    GraphNode& overlay = node_of(each.overlay);
    if (!names_itself(overlay, node_of(each.node))) overlay.origin().children_named = true;
  }
  std::ranges::sort(users);
  const auto again = std::ranges::unique(users);
  users.erase(again.begin(), again.end());
  for (RootUser* user : users) user->root_changed();
  co_return ok();
}

}  // namespace ashlar
