// A change of the graph that applies whole or leaves everything as it was.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/permissions.h"
#include "graph/graph_node.h"

namespace ashlar {

class GraphState;

/// Collects changes, computes the permissions that follow from them, asks every driver, and lets
/// go of what was replaced only when it is committed. Destroyed before that it takes all back.
/// Control loop only; requests that run through changed edges have been drained. Holds for no
/// longer than one step: nothing is awaited between the first change and the end.
class Transaction {
 public:
  /// Whether what is changed may have served requests, which noted where extents are.
  enum class Nodes : uint8_t { kInUse, kOpening };
  explicit Transaction(GraphState& graph, Nodes nodes = Nodes::kInUse)
      : graph_(graph), nodes_(nodes) {}
  Transaction(const Transaction&) = delete;
  ~Transaction();

  /// A new edge of `parent`, pointing nowhere yet.
  Edge& add_edge(GraphNode& parent, std::string name, ChildRole role);
  /// Takes an edge of a node away for good.
  void remove_edge(Edge& edge);
  /// Points `edge` at `child`, or nowhere.
  /// Errors: kInvalidArgument "graph-loop", kClosed "node-closed".
  Result<void> point(Edge& edge, GraphNode* child);
  /// Of a root edge; those of others follow.
  void set_permissions(Edge& root, Permissions used, Permissions shared);
  void set_flags(GraphNode& node, const OpenFlags& flags);

  /// Computes permissions and makes drivers take them.
  /// Errors: kBusy "permission-conflict", kReadOnly "node-read-only", and what drivers say.
  Result<void> apply();
  void commit() noexcept;

 private:
  void touch(GraphNode& node);
  void link(Edge& edge, GraphNode* child);
  static void mark_in_chain(GraphNode& top);
  std::vector<GraphNode*> spread();
  static Result<void> check(const GraphNode& node);
  Result<void> tell(GraphNode& node);

  GraphState& graph_;
  const Nodes nodes_;
  std::vector<std::function<void()>> undo_;
  std::vector<GraphNode*> touched_;
  std::vector<Edge*> removed_;   // to be destroyed on commit
  std::vector<NodeRef> pinned_;  // what edges pointed at before
  bool committed_ = false;
};

/// True if `to` is `from` or below it.
bool reaches(GraphNode& from, const GraphNode& to);

/// The backends whose requests can come to `node`.
std::vector<RootUser*> users_above(GraphNode& node);

}  // namespace ashlar
