// Children, as drivers ask for them while they open.
#include "graph/open_context.h"

#include "graph/filename.h"

namespace ashlar {

TreeRequest NodeOpenContext::request_for(ChildRole role) const {
  const NodeKind kind = node_.spec().kind;
  TreeRequest request;
  request.defaults = flags_for_child(node_.flags(), kind, role);
  request.owner = &node_;
  request.nesting = setup_.nesting + 1;
  request.level = TreeRequest::Level::kStorage;
  // A filter in a chain is no way around its limits.
  if (kind == NodeKind::kFilter && role == ChildRole::kFiltered) request.chain = setup_.chain;
  return request;
}

Result<Child*> NodeOpenContext::attach(std::string name, ChildRole role, Result<NodeRef> opened) {
  if (!opened) return fail(opened.error());
  GraphNode& child = static_cast<GraphNode&>(**opened);
  Result<Edge*> edge = attach_child(node_, std::move(name), role, child);
  if (!edge) return fail(edge.error());
  return *edge;
}

Task<Result<Child*>> NodeOpenContext::open_child(std::string name, ChildRole role) {
  if (name == "file" && setup_.probed_file) {
    NodeRef file = std::exchange(setup_.probed_file, {});
    GraphNode& child = static_cast<GraphNode&>(*file);
    if (child.parents().empty()) child.origin().owner = &node_;
    co_return attach(std::move(name), role, std::move(file));
  }
  TreeRequest request = request_for(role);
  Result<NodeRef> opened = co_await session_.open_child(options_, name, std::move(request));
  co_return attach(std::move(name), role, std::move(opened));
}

Task<Result<Child*>> NodeOpenContext::open_reference(std::string name, ChildRole role,
                                                     Reference reference) {
  if (options_.find(name) != nullptr || options_.has_subtree(name)) {
    node_.origin().children_named = true;
    co_return co_await open_child(std::move(name), role);
  }
  if (node_.flags().metadata_only) co_return nullptr;
  GraphState& graph = session_.graph();
  Result<std::optional<OptionDict>> resolved =
      graph.resolver().resolve(reference, node_.primary_storage().filename());
  if (!resolved) co_return fail(resolved.error());
  if (!*resolved) co_return nullptr;
  Result<OptionDict> expanded = expand_image_name(graph, std::move(**resolved));
  if (!expanded) co_return fail(expanded.error());
  TreeRequest request = request_for(role);
  request.options = std::move(*expanded);
  request.level = TreeRequest::Level::kImage;
  Result<NodeRef> opened = co_await session_.open_tree(std::move(request));
  co_return attach(std::move(name), role, std::move(opened));
}

}  // namespace ashlar
