// Nodes and edges: what they answer.
#include "graph/graph_node.h"

#include <algorithm>
#include <mutex>
#include <unordered_set>

#include "graph/edge_permissions.h"
#include "graph/graph_state.h"

namespace ashlar {

GraphNode::GraphNode(GraphState& graph, std::string name, const DriverSpec& spec, OpenFlags flags)
    : graph_(graph), name_(std::move(name)), spec_(&spec), flags_(flags) {}

GraphNode::~GraphNode() = default;

NodeInfo GraphNode::info() const noexcept {
  NodeInfo now = info_;
  now.size = size();
  return now;
}

std::vector<Node::ChildLink> GraphNode::children() const {
  std::vector<ChildLink> links;
  for (const auto& edge : children_) {
    if (edge->child() != nullptr) links.push_back({edge->name(), edge->role(), edge->child()});
  }
  return links;
}

Node* GraphNode::backing() const noexcept {
  Edge* edge = backing_edge();
  return edge == nullptr ? nullptr : edge->child();
}

Node* GraphNode::primary() const noexcept {
  for (const auto& edge : children_) {
    if (edge->role() == ChildRole::kPrimary || edge->role() == ChildRole::kFiltered) {
      return edge->child();
    }
  }
  return nullptr;
}

Permissions GraphNode::used() const noexcept { return use_of(*this).used; }

EpochDomain& GraphNode::requests() { return graph_.requests(); }

void GraphNode::image_corrupted(const Error& error) { graph_.report_corruption(name_, error); }

Edge* GraphNode::find_edge(std::string_view name) const noexcept {
  for (const auto& edge : children_) {
    if (edge->name() == name) return edge.get();
  }
  return nullptr;
}

GraphNode& GraphNode::primary_storage() noexcept {
  GraphNode* node = this;
  while (auto* below = static_cast<GraphNode*>(node->primary())) node = below;
  return *node;
}

void GraphNode::refresh_info() noexcept {
  const NodeInfo now = driver_->info();
  size_.store(now.size, std::memory_order_release);
  NodeInfo kept = now;
  kept.size = info_.size;
  // Requests on other loops read the rest without a lock: it is written only where it has changed,
  // which drivers do with requests drained.
  if (kept != info_) info_ = kept;
}

void GraphNode::note_watched_write(ByteRange range) noexcept {
  if (const auto exceeded = watch_.note(range)) graph_.report_threshold(name_, *exceeded);
}

void GraphNode::forget_resolved_above() noexcept {
  std::lock_guard lock(graph_.structure());
  bool below_backing = false;
  std::vector<GraphNode*> open{this};
  std::unordered_set<const GraphNode*> seen{this};
  while (!open.empty()) {
    GraphNode* node = open.back();
    open.pop_back();
    node->resolved_.invalidate();
    for (Edge* edge : node->parents_) {
      below_backing = below_backing || edge->role() == ChildRole::kBacking;
      if (edge->parent() != nullptr && seen.insert(edge->parent()).second) {
        open.push_back(edge->parent());
      }
    }
  }
  // The last overlay has gone. Lists of parents change under the same lock: no mark is lost.
  if (!below_backing) in_chain_.store(false);
}

Edge::Edge(GraphNode* parent, std::string user, std::string name, ChildRole role)
    : parent_(parent), user_(std::move(user)), name_(std::move(name)), role_(role) {}

Edge::Edge(RootUser& root, std::string user)
    : parent_(nullptr),
      root_user_(&root),
      user_(std::move(user)),
      name_("root"),
      role_(ChildRole::kFiltered) {}

NodeRef::NodeRef(Node* node) : node_(node) {
  // Every node is a GraphNode: only graphs make them.
  if (auto* counted = static_cast<GraphNode*>(node)) counted->graph().reference(*counted);
}

NodeRef::~NodeRef() {
  if (auto* counted = static_cast<GraphNode*>(node_)) counted->graph().unreference(*counted);
}

}  // namespace ashlar
