// Opening and creating images by their file names.
#pragma once

#include <string>

#include "graph/graph_state.h"

namespace ashlar {

/// Opens a tree; nothing of it stays open after an error.
Task<Result<NodeRef>> open_root(GraphState& graph, OptionDict options, OpenFlags flags);
Task<Result<NodeRef>> open_image(GraphState& graph, Graph::Image image);
Task<Result<OptionDict>> probed_image_options(GraphState& graph, Graph::Image image);

struct NewImage {
  std::string filename;
  std::string format;
};
Task<Result<void>> create_image(GraphState& graph, NewImage image, OptionDict options);

}  // namespace ashlar
