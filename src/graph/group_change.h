// Changes of several nodes that happen all at once or not at all: what a transaction of users does.
#pragma once

#include <functional>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/node.h"
#include "ashlar/task.h"

namespace ashlar {

class GraphState;

struct GroupChange {
  /// `overlay` comes to stand on `node`, and takes its place under all of its parents.
  struct Snapshot {
    NodeRef node;
    NodeRef overlay;
  };
  std::vector<Snapshot> snapshots;  ///< in order
  std::vector<NodeRef> edited;      ///< nodes whose bitmaps `edit` changes or looks at
  /// Runs between requests to all of these nodes, before the snapshots. Whoever gave it takes back
  /// what it did when the change fails.
  std::function<Result<void>()> edit;
};

/// Whether a snapshot of `node` can be made: nobody stands on it. Errors: kBusy "node-is-backing".
Result<void> check_snapshot_base(const Node& node);

/// Requests wait meanwhile, and go to the overlays afterwards.
/// Errors: of `edit`; kUnsupported "overlay-unsupported" {name}, kBusy "overlay-in-use" {name},
/// "overlay-has-backing" {name}, "node-is-backing" {name, user}; kInvalidArgument "overlay-is-node"
/// {name}, "graph-loop"; what drivers and permissions refuse.
Task<Result<void>> change_group(GraphState& graph, GroupChange change);

}  // namespace ashlar
