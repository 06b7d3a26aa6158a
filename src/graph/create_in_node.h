// Creating an image inside of a node that is open already.
#pragma once

#include <string>

#include "ashlar/graph.h"
#include "graph/graph_state.h"

namespace ashlar {

/// Makes an image of `format` in `file`, whatever was in it before. `options` has "size" and the
/// format's options. Nobody else may write to the node.
Task<Result<void>> create_image_in(GraphState& graph, NodeRef file, std::string format,
                                   OptionDict options);

}  // namespace ashlar
