// Changes of an opened graph.
#pragma once

#include <string>
#include <vector>

#include "graph/graph_state.h"

namespace ashlar {

/// Whether `overlay` may come to stand on `backing`. Errors: kUnsupported "backing-unsupported",
/// kTooLarge "chain-depth".
Result<void> check_new_backing(const GraphNode& overlay, const Node* backing);

Task<Result<void>> remove_node(GraphState& graph, std::string name);
Task<Result<void>> replace_node(GraphState& graph, NodeRef old, NodeRef replacement);
Task<Result<void>> set_backing(GraphState& graph, NodeRef overlay, NodeRef backing);
/// Lets an opened image name its backing image otherwise; what is open stays. Empty: none.
/// Errors: kUnsupported "backing-name-unsupported"; those of BackingNameKeeper.
Task<Result<void>> set_backing_name(GraphState& graph, NodeRef image, std::string name);
Task<Result<void>> reopen_nodes(GraphState& graph, std::vector<OptionDict> changes);

}  // namespace ashlar
