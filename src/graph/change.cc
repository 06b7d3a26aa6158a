// Replacing and removing nodes, and changing what an overlay stands on.
#include "graph/change.h"

#include <fmt/format.h>

#include "graph/backing_name.h"
#include "graph/held_requests.h"
#include "graph/transaction.h"

namespace ashlar {

namespace {

unsigned chain_length(const Node* node) {
  unsigned length = 0;
  for (; node != nullptr; node = node->backing()) ++length;
  return length;
}

Result<void> move_parents(Transaction& change, GraphNode& old, GraphNode& replacement) {
  const std::vector<Edge*> parents(old.parents().begin(), old.parents().end());
  for (Edge* edge : parents) {
    // What the replacement is made of stays below it.
    if (edge->parent() != nullptr && reaches(replacement, *edge->parent())) continue;
    if (Result<void> moved = change.point(*edge, &replacement); !moved) return moved;
  }
  return change.apply();
}

Result<void> change_backing(Transaction& change, GraphNode& overlay, GraphNode* backing) {
  Edge* edge = overlay.backing_edge();
  if (backing == nullptr) {
    if (edge != nullptr) change.remove_edge(*edge);
  } else {
    if (edge == nullptr) edge = &change.add_edge(overlay, "backing", ChildRole::kBacking);
    if (Result<void> pointed = change.point(*edge, backing); !pointed) return pointed;
  }
  return change.apply();
}

}  // namespace

Result<void> check_new_backing(const GraphNode& overlay, const Node* backing) {
  if (!overlay.spec().supports_backing) {
    return fail(Error(ErrorCode::kUnsupported,
                      fmt::format("format {} has no backing images", overlay.spec().name))
                    .because("backing-unsupported", {std::string(overlay.spec().name)}));
  }
  const unsigned limit = overlay.graph().limits().chain_depth;
  if (chain_length(backing) < limit) return ok();
  return fail(Error(ErrorCode::kTooLarge,
                    fmt::format("the backing chain would have more than {} layers, which is the "
                                "limit",
                                limit))
                  .because("chain-depth", {std::to_string(limit)}));
}

Task<Result<void>> remove_node(GraphState& graph, std::string name) {
  Mutex::Guard changing = co_await graph.changes().lock();
  GraphNode* node = graph.find_node(name);
  if (node == nullptr) {
    co_return fail(Error(ErrorCode::kNotFound, fmt::format("no node is called \"{}\"", name))
                       .because("node-not-found", {name}));
  }
  if (!node->parents().empty()) {
    const std::string& user = node->parents().front()->user();
    co_return fail(Error(ErrorCode::kBusy, fmt::format("node \"{}\" is in use by {}", name, user))
                       .because("node-busy", {name, user}));
  }
  const NodeRef shell(node);
  std::vector<NodeRef> below;
  for (const Node::ChildLink& link : node->children()) below.emplace_back(link.node);
  graph.begin_close(*node);
  changing.unlock();  // others need not wait for a slow close
  Result<void> closed = co_await graph.close_node(*node);
  // Their files are free when the caller hears of it.
  Result<void> closed_below = co_await graph.close_unused(std::move(below));
  co_return closed ? closed_below : closed;
}

Task<Result<void>> replace_node(GraphState& graph, NodeRef old, NodeRef replacement) {
  const Mutex::Guard changing = co_await graph.changes().lock();
  auto& from = static_cast<GraphNode&>(*old);
  auto& to = static_cast<GraphNode&>(*replacement);
  const std::vector<GraphNode*> changed{&from, &to};
  const HeldRequests held = co_await HeldRequests::above(changed);
  const std::vector<RootUser*> users = users_above(from);
  Transaction change(graph);
  if (Result<void> moved = move_parents(change, from, to); !moved) {
    co_return fail(moved.error().within("replace node", from.name()));
  }
  change.commit();
  for (RootUser* user : users) user->root_changed();
  co_return ok();
}

Task<Result<void>> set_backing(GraphState& graph, NodeRef overlay, NodeRef backing) {
  const Mutex::Guard changing = co_await graph.changes().lock();
  auto& upper = static_cast<GraphNode&>(*overlay);
  auto* lower = static_cast<GraphNode*>(backing.get());
  if (Result<void> possible = check_new_backing(upper, lower); !possible) co_return possible;
  const std::vector<GraphNode*> changed{&upper};
  const HeldRequests held = co_await HeldRequests::above(changed);
  Transaction change(graph);
  if (Result<void> pointed = change_backing(change, upper, lower); !pointed) {
    co_return fail(pointed.error().within("set backing of", upper.name()));
  }
  upper.origin().children_named = true;
  change.commit();
  co_return ok();
}

Task<Result<void>> set_backing_name(GraphState& graph, NodeRef image, std::string name) {
  const Mutex::Guard changing = co_await graph.changes().lock();
  auto& node = static_cast<GraphNode&>(*image);
  const std::vector<GraphNode*> changed{&node};
  const HeldRequests held = co_await HeldRequests::above(changed);
  auto* keeper = dynamic_cast<BackingNameKeeper*>(&node.driver());
  if (keeper == nullptr) {
    co_return fail(Error(ErrorCode::kUnsupported,
                         fmt::format("images of format {} cannot be told another name of their "
                                     "backing image",
                                     node.spec().name))
                       .because("backing-name-unsupported", {std::string(node.spec().name)}));
  }
  const Node* backing = node.backing();
  std::string format = backing == nullptr ? std::string() : std::string(backing->spec().name);
  const bool other = backing != nullptr && name != backing->filename();
  Result<void> done = co_await keeper->set_backing_name(std::move(name), std::move(format));
  if (done && other) node.origin().children_named = true;
  co_return done;
}

}  // namespace ashlar
