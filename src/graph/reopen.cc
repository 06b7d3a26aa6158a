// Reopening: new options and flags for opened nodes, all of them or none.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "graph/change.h"
#include "graph/held_requests.h"
#include "graph/node_bitmaps.h"
#include "graph/transaction.h"

namespace ashlar {

namespace {

/// Another node, or none, under an edge of a reopened node.
struct ChildChange {
  std::string edge;
  NodeRef child;
};

/// One node to be reopened: because it was named, or because it takes over what its owner changed.
struct PlannedNode {
  NodeRef ref;
  OptionDict options;
  GenericOptions asked;
  OpenFlags defaults;
  OpenFlags flags;
  std::vector<ChildChange> children;
  std::unique_ptr<PreparedReopen> prepared;
  bool becomes_writable = false;

  GraphNode& node() const { return static_cast<GraphNode&>(*ref); }
};

class ReopenPlan {
 public:
  explicit ReopenPlan(GraphState& graph) : graph_(graph) {}

  Result<void> add(OptionDict change);
  /// Computes flags from owners to what they own, which joins the plan where it changes.
  Result<void> spread();
  std::vector<GraphNode*> nodes() const;
  /// Those whose drivers prepare to write what they only read so far. Before commit().
  std::vector<GraphNode*> to_be_written() const;
  Task<Result<void>> prepare();
  Result<void> apply(Transaction& transaction);
  void commit() noexcept;

 private:
  PlannedNode& planned(GraphNode& node);
  Result<void> add_to(GraphNode& node, OptionDict change);
  Result<void> plan_child(GraphNode& node, const std::string& name);
  Result<void> point_child(Transaction& transaction, GraphNode& node, const ChildChange& change);

  GraphState& graph_;
  std::vector<std::unique_ptr<PlannedNode>> plan_;
};

PlannedNode& ReopenPlan::planned(GraphNode& node) {
  for (const auto& entry : plan_) {
    if (&entry->node() == &node) return *entry;
  }
  auto entry = std::make_unique<PlannedNode>();
  entry->ref = NodeRef(&node);
  entry->asked = node.origin().asked;
  entry->defaults = node.origin().defaults;
  entry->flags = node.flags();
  return *plan_.emplace_back(std::move(entry));
}

Result<void> ReopenPlan::add(OptionDict change) {
  const std::optional<std::string> name = change.take_text("node-name");
  GraphNode* node = name ? graph_.find_node(*name) : nullptr;
  if (node != nullptr) return add_to(*node, std::move(change));
  return fail(Error(ErrorCode::kNotFound,
                    name ? fmt::format("no node is called \"{}\"", *name)
                         : std::string("option \"node-name\" is missing: it says what to reopen"))
                  .because("node-not-found", {name.value_or("")}));
}

Result<void> ReopenPlan::add_to(GraphNode& node, OptionDict change) {
  PlannedNode& entry = planned(node);
  Result<GenericOptions> generic = take_options<GenericOptions>(change);
  if (!generic) return fail(generic.error());
  if (generic->driver && *generic->driver != node.spec().name) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("node \"{}\" has driver {}, which cannot become {}", node.name(),
                                  node.spec().name, *generic->driver))
                    .because("reopen-driver", {node.name(), *generic->driver}));
  }
  entry.asked.merge(*generic);
  for (const auto& [key, value] : change.entries()) entry.options.set(key, value);
  std::vector<std::string> names;
  for (const auto& edge : node.edges()) names.push_back(edge->name());
  if (node.spec().supports_backing && node.backing_edge() == nullptr) names.emplace_back("backing");
  for (const std::string& name : names) {
    if (Result<void> child = plan_child(node, name); !child) return child;
  }
  return ok();
}

/// A child given as a node-name, as nothing (backing only), or as options of the one there is.
Result<void> ReopenPlan::plan_child(GraphNode& node, const std::string& name) {
  PlannedNode& entry = planned(node);
  const Edge* edge = node.find_edge(name);
  if (entry.options.find(name) != nullptr) {
    const std::string child = entry.options.take_text(name).value_or("");
    if (child.empty() && name == "backing") {
      entry.children.push_back({name, NodeRef()});
      return ok();
    }
    GraphNode* found = graph_.find_node(child);
    if (found == nullptr) {
      return fail(Error(ErrorCode::kNotFound, fmt::format("no node is called \"{}\"", child))
                      .because("node-not-found", {child}));
    }
    if (edge == nullptr || edge->child() != found) entry.children.push_back({name, NodeRef(found)});
    return ok();
  }
  if (edge == nullptr || !entry.options.has_subtree(name)) return ok();
  OptionDict options = entry.options.take_subtree(name);
  const std::optional<std::string> child = options.take_text("node-name");
  if (child && *child != edge->child()->name()) {
    return fail(
        Error(ErrorCode::kInvalidArgument,
              fmt::format("\"{}\" of node \"{}\" is \"{}\", and a new node \"{}\" cannot be "
                          "opened there",
                          name, node.name(), edge->child()->name(), *child))
            .because("reopen-child", {name, node.name(), *child}));
  }
  return add_to(*edge->child(), std::move(options));
}

Result<void> ReopenPlan::spread() {
  // Grows while it is walked. A node may come up again when an owner further up is planned later.
  std::vector<GraphNode*> open = nodes();
  while (!open.empty()) {
    GraphNode& node = *open.front();
    open.erase(open.begin());
    PlannedNode& entry = planned(node);
    Result<OpenFlags> flags = entry.asked.flags(entry.defaults);
    if (!flags) return fail(flags.error());
    flags->probed = node.flags().probed;
    entry.flags = *flags;
    for (const auto& edge : node.edges()) {
      GraphNode* child = edge->child();
      if (child == nullptr || child->origin().owner != &node) continue;
      const OpenFlags passed = flags_for_child(*flags, node.spec().kind, edge->role());
      if (passed == child->origin().defaults) continue;
      planned(*child).defaults = passed;
      open.push_back(child);
    }
  }
  return ok();
}

std::vector<GraphNode*> ReopenPlan::nodes() const {
  std::vector<GraphNode*> all;
  all.reserve(plan_.size());
  for (const auto& entry : plan_) all.push_back(&entry->node());
  return all;
}

std::vector<GraphNode*> ReopenPlan::to_be_written() const {
  std::vector<GraphNode*> found;
  for (const auto& entry : plan_) {
    if (entry->becomes_writable) found.push_back(&entry->node());
  }
  return found;
}

Task<Result<void>> ReopenPlan::prepare() {
  for (const auto& entry : plan_) {
    GraphNode& node = entry->node();
    // Zeroes are detected by the layer: no driver need know.
    OpenFlags flags = entry->flags;
    flags.detect_zeroes = node.flags().detect_zeroes;
    if (entry->options.empty() && flags == node.flags()) continue;
    if (flags.read_only) {
      Result<void> saved = co_await save_bitmaps(node);
      if (!saved) co_return saved;
    }
    Result<std::unique_ptr<PreparedReopen>> prepared =
        co_await node.driver().prepare_reopen(entry->options, entry->flags);
    if (!prepared) co_return fail(prepared.error().within("reopen node", node.name()));
    entry->prepared = std::move(*prepared);
    entry->becomes_writable = node.flags().read_only && !flags.read_only;
    if (entry->options.empty()) continue;
    const std::string& key = entry->options.entries().front().first;
    co_return fail(Error(ErrorCode::kInvalidArgument,
                         fmt::format("{}: option \"{}\" cannot be changed", node.spec().name, key))
                       .because("option-unknown", {std::string(node.spec().name), key}));
  }
  co_return ok();
}

Result<void> ReopenPlan::point_child(Transaction& transaction, GraphNode& node,
                                     const ChildChange& change) {
  Edge* edge = node.find_edge(change.edge);
  if (!change.child) {
    if (edge != nullptr) transaction.remove_edge(*edge);
    return ok();
  }
  if (edge == nullptr) edge = &transaction.add_edge(node, change.edge, ChildRole::kBacking);
  return transaction.point(*edge, static_cast<GraphNode*>(change.child.get()));
}

Result<void> ReopenPlan::apply(Transaction& transaction) {
  for (const auto& entry : plan_) {
    transaction.set_flags(entry->node(), entry->flags);
    for (const ChildChange& change : entry->children) {
      Result<void> pointed = point_child(transaction, entry->node(), change);
      if (!pointed) return pointed;
    }
  }
  return transaction.apply();
}

void ReopenPlan::commit() noexcept {
  for (const auto& entry : plan_) {
    GraphNode& node = entry->node();
    if (entry->prepared) entry->prepared->commit();
    node.origin().asked = entry->asked;
    node.origin().defaults = entry->defaults;
    if (!entry->children.empty()) node.origin().children_named = true;
  }
  for (const auto& entry : plan_) entry->node().refresh_info();
}

}  // namespace

Task<Result<void>> reopen_nodes(GraphState& graph, std::vector<OptionDict> changes) {
  const Mutex::Guard changing = co_await graph.changes().lock();
  ReopenPlan plan(graph);
  for (OptionDict& change : changes) {
    if (Result<void> added = plan.add(std::move(change)); !added) co_return added;
  }
  if (Result<void> spread = plan.spread(); !spread) co_return spread;
  std::vector<GraphNode*> nodes = plan.nodes();
  const HeldRequests held = co_await HeldRequests::above(std::move(nodes));
  Result<void> prepared = co_await plan.prepare();
  if (!prepared) co_return prepared;
  Transaction transaction(graph);
  if (Result<void> applied = plan.apply(transaction); !applied) co_return applied;
  const std::vector<GraphNode*> written = plan.to_be_written();
  plan.commit();
  transaction.commit();
  for (GraphNode* node : written) {
    // What cannot be loaded is marked before the first write.
    (void)co_await load_written_bitmaps(*node);
  }
  for (GraphNode* node : plan.nodes()) {
    for (RootUser* user : users_above(*node)) user->root_changed();
  }
  co_return ok();
}

}  // namespace ashlar
