// Changing edges, permissions and flags, with a way back from every step.
#include "graph/transaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <unordered_set>

#include "graph/edge_permissions.h"
#include "graph/graph_state.h"

namespace ashlar {

bool reaches(GraphNode& from, const GraphNode& to) {
  std::vector<GraphNode*> open{&from};
  std::unordered_set<const GraphNode*> seen{&from};
  while (!open.empty()) {
    GraphNode* node = open.back();
    open.pop_back();
    if (node == &to) return true;
    for (const auto& edge : node->edges()) {
      GraphNode* child = edge->child();
      if (child != nullptr && seen.insert(child).second) open.push_back(child);
    }
  }
  return false;
}

std::vector<RootUser*> users_above(GraphNode& node) {
  std::vector<RootUser*> users;
  std::vector<GraphNode*> open{&node};
  std::unordered_set<const GraphNode*> seen{&node};
  while (!open.empty()) {
    GraphNode* at = open.back();
    open.pop_back();
    for (Edge* edge : at->parents()) {
      if (edge->root_user() != nullptr) {
        if (std::find(users.begin(), users.end(), edge->root_user()) == users.end()) {
          users.push_back(edge->root_user());
        }
      } else if (edge->parent() != nullptr && seen.insert(edge->parent()).second) {
        open.push_back(edge->parent());
      }
    }
  }
  return users;
}

Transaction::~Transaction() {
  if (committed_) return;
  for (auto step = undo_.rbegin(); step != undo_.rend(); ++step) (*step)();
}

void Transaction::touch(GraphNode& node) {
  if (std::find(touched_.begin(), touched_.end(), &node) == touched_.end()) {
    touched_.push_back(&node);
  }
}

Edge& Transaction::add_edge(GraphNode& parent, std::string name, ChildRole role) {
  auto edge =
      std::make_unique<Edge>(&parent, "node \"" + parent.name() + "\"", std::move(name), role);
  Edge& added = *edge;
  parent.children_.push_back(std::move(edge));
  undo_.push_back([&parent, &added] {
    std::erase_if(parent.children_, [&added](const auto& owned) { return owned.get() == &added; });
  });
  touch(parent);
  return added;
}

void Transaction::remove_edge(Edge& edge) {
  (void)point(edge, nullptr);  // to nowhere is always allowed
  removed_.push_back(&edge);
}

Result<void> Transaction::point(Edge& edge, GraphNode* child) {
  GraphNode* old = edge.child_;
  if (old == child) return ok();
  if (child != nullptr) {
    if (child->state() != GraphNode::State::kOpen) {
      return fail(Error(ErrorCode::kClosed, fmt::format("node \"{}\" is closed", child->name()))
                      .because("node-closed", {child->name()}));
    }
    if (edge.parent_ != nullptr && reaches(*child, *edge.parent_)) {
      return fail(Error(ErrorCode::kInvalidArgument,
                        fmt::format("node \"{}\" as \"{}\" of node \"{}\" would make a loop",
                                    child->name(), edge.name(), edge.parent_->name()))
                      .because("graph-loop", {child->name(), edge.name(), edge.parent_->name()}));
    }
  }
  if (old != nullptr) {
    pinned_.emplace_back(old);
    touch(*old);
  }
  if (child != nullptr) touch(*child);
  if (edge.parent_ != nullptr) touch(*edge.parent_);
  link(edge, child);
  undo_.push_back([this, &edge, old] { link(edge, old); });
  return ok();
}

void Transaction::link(Edge& edge, GraphNode* child) {
  std::lock_guard lock(graph_.structure());
  if (edge.child_ != nullptr) std::erase(edge.child_->parents_, &edge);
  edge.child_ = child;
  if (child != nullptr) {
    child->parents_.push_back(&edge);
    const bool in_chain = edge.role_ == ChildRole::kBacking ||
                          (edge.parent_ != nullptr && edge.parent_->in_chain_.load());
    if (in_chain) mark_in_chain(*child);
  }
  if (edge.parent_ != nullptr && edge.role_ == ChildRole::kBacking) {
    edge.parent_->backing_.store(child == nullptr ? nullptr : &edge, std::memory_order_release);
  }
}

/// From here down, writes have to look for chains above.
void Transaction::mark_in_chain(GraphNode& top) {
  std::vector<GraphNode*> open{&top};
  while (!open.empty()) {
    GraphNode* node = open.back();
    open.pop_back();
    if (node->in_chain_.exchange(true)) continue;
    for (const auto& edge : node->edges()) {
      if (edge->child() != nullptr) open.push_back(edge->child());
    }
  }
}

void Transaction::set_permissions(Edge& root, Permissions used, Permissions shared) {
  const UseOfNode old{root.used(), root.shared()};
  root.used_.store(used);
  root.shared_ = shared;
  undo_.push_back([&root, old] {
    root.used_.store(old.used);
    root.shared_ = old.shared;
  });
  if (root.child_ != nullptr) touch(*root.child_);
}

void Transaction::set_flags(GraphNode& node, const OpenFlags& flags) {
  undo_.push_back([&node, old = node.flags_] { node.flags_ = old; });
  node.flags_ = flags;
  touch(node);
}

Result<void> Transaction::apply() {
  const std::vector<GraphNode*> affected = spread();
  for (GraphNode* node : affected) {
    if (Result<void> allowed = check(*node); !allowed) return allowed;
  }
  // Everybody agrees; now those who hold locks for it.
  for (GraphNode* node : affected) {
    if (Result<void> told = tell(*node); !told) return told;
  }
  return ok();
}

/// Computes what edges need, downwards from what was touched, as far as anything changes. A node
/// may be met again after another of its parents has changed; nothing is checked before the end.
std::vector<GraphNode*> Transaction::spread() {
  std::vector<GraphNode*> affected = touched_;
  std::unordered_set<GraphNode*> known(touched_.begin(), touched_.end());
  std::deque<GraphNode*> open(touched_.begin(), touched_.end());
  while (!open.empty()) {
    GraphNode& node = *open.front();
    open.pop_front();
    const UseOfNode use = use_of(node);
    for (const auto& owned : node.edges()) {
      Edge& edge = *owned;
      const UseOfNode old{edge.used(), edge.shared()};
      const UseOfNode needs = needs_of(edge, node, use);
      if (edge.child() == nullptr || needs == old) continue;
      undo_.push_back([&edge, old] {
        edge.used_.store(old.used);
        edge.shared_ = old.shared;
      });
      edge.used_.store(needs.used);
      edge.shared_ = needs.shared;
      open.push_back(edge.child());
      if (known.insert(edge.child()).second) affected.push_back(edge.child());
    }
  }
  return affected;
}

Result<void> Transaction::check(const GraphNode& node) {
  constexpr Permissions kChanging =
      Permission::kWrite | Permission::kWriteUnchanged | Permission::kResize;
  if (node.read_only() && !(use_of(node).used & kChanging).empty()) {
    return fail(Error(ErrorCode::kReadOnly, fmt::format("node \"{}\" is read-only", node.name()))
                    .because("node-read-only", {node.name()}));
  }
  return check_sharing(node);
}

Result<void> Transaction::tell(GraphNode& node) {
  const UseOfNode use = use_of(node);
  const UseOfNode old{node.told_used_, node.told_shared_};
  // One that is closing has given up everything, or is about to.
  if (node.state_ != GraphNode::State::kOpen || use == old) return ok();
  if (Result<void> taken = node.driver_->apply_permissions(use.used, use.shared); !taken) {
    return taken;
  }
  node.told_used_ = use.used;
  node.told_shared_ = use.shared;
  undo_.push_back([&node, old] {
    // Going back to what was held a moment ago: a driver that cannot keeps more than it needs.
    (void)node.driver_->apply_permissions(old.used, old.shared);
    node.told_used_ = old.used;
    node.told_shared_ = old.shared;
  });
  return ok();
}

void Transaction::commit() noexcept {
  committed_ = true;
  undo_.clear();
  for (Edge* edge : removed_) {
    std::erase_if(edge->parent_->children_,
                  [edge](const auto& owned) { return owned.get() == edge; });
  }
  if (nodes_ == Nodes::kInUse) {
    for (GraphNode* node : touched_) node->invalidate_resolved();
  }
  pinned_.clear();  // who is not used any more starts to close
}

}  // namespace ashlar
