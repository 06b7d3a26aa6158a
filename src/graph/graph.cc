// The graph's public face.
#include "ashlar/graph.h"

#include "graph/change.h"
#include "graph/filename.h"
#include "graph/graph_state.h"
#include "graph/image.h"
#include "graph/open.h"

namespace ashlar {

struct Graph::Impl {
  Impl(Runtime& runtime, Options options) : state(runtime, std::move(options)) {}
  GraphState state;
};

GraphState& GraphAccess::state(const Graph& graph) { return graph.impl_->state; }

Graph::Graph(Runtime& runtime, Options options)
    : impl_(std::make_unique<Impl>(runtime, std::move(options))) {}

Graph::~Graph() = default;

Task<Result<NodeRef>> Graph::open(OptionDict options, OpenFlags flags) {
  return open_root(impl_->state, std::move(options), flags);
}

Task<Result<NodeRef>> Graph::open_image(Image image) {
  return ashlar::open_image(impl_->state, std::move(image));
}

Task<Result<OptionDict>> Graph::image_options(const Image& image) {
  return probed_image_options(impl_->state, image);
}

Node* Graph::find_node(std::string_view name) const { return impl_->state.find_node(name); }

std::vector<Node*> Graph::nodes() const {
  const std::vector<GraphNode*> open = impl_->state.nodes();
  return {open.begin(), open.end()};
}

Task<Result<void>> Graph::remove_node(std::string_view name) {
  return ashlar::remove_node(impl_->state, std::string(name));
}

Task<Result<void>> Graph::replace_node(Node& old, NodeRef replacement) {
  return ashlar::replace_node(impl_->state, NodeRef(&old), std::move(replacement));
}

Task<Result<void>> Graph::set_backing(Node& overlay, NodeRef backing) {
  return ashlar::set_backing(impl_->state, NodeRef(&overlay), std::move(backing));
}

Task<Result<void>> Graph::reopen(std::vector<OptionDict> changes) {
  return reopen_nodes(impl_->state, std::move(changes));
}

Task<Result<void>> Graph::create_image(std::string filename, std::string format,
                                       OptionDict options) {
  return ashlar::create_image(impl_->state, {std::move(filename), std::move(format)},
                              std::move(options));
}

const DriverSpec* Graph::find_driver(std::string_view name) const {
  return impl_->state.find_driver(name);
}
std::span<const DriverSpec* const> Graph::drivers() const { return impl_->state.drivers(); }
Runtime& Graph::runtime() const { return impl_->state.runtime(); }
const GraphLimits& Graph::limits() const { return impl_->state.limits(); }
Task<void> Graph::settle() { return impl_->state.settle(); }
Task<Result<void>> Graph::close() { return impl_->state.close(); }

}  // namespace ashlar
