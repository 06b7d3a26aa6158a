// What an edge asks of its child and lets others do there, and whether all who use a node agree.
#pragma once

#include "ashlar/error.h"
#include "graph/graph_node.h"

namespace ashlar {

/// Used by somebody, and shared by everybody.
struct UseOfNode {
  Permissions used;
  Permissions shared = Permissions::all();
  bool operator==(const UseOfNode&) const = default;
};

/// What all parents of `node` use and share together.
UseOfNode use_of(const GraphNode& node);

/// What `edge` of `parent` needs when `parent` itself is used as `above` says.
UseOfNode needs_of(const Edge& edge, const GraphNode& parent, const UseOfNode& above);

/// Errors: kBusy "permission-conflict" {user, permissions, node, other user, its edge}.
Result<void> check_sharing(const GraphNode& node);

}  // namespace ashlar
