// What a node is called towards users: its file name where that says it all, else json:{...}.
#include <optional>
#include <string>

#include "graph/graph_node.h"

namespace ashlar {

namespace {

/// Deeper trees could not be opened by such a name anyway.
constexpr unsigned kMaxDepth = 32;

/// The name alone, where opening that would give the same node again.
std::optional<std::string> plain_name(const GraphNode& start) {
  const GraphNode* node = &start;
  while (true) {
    const OptionDict naming = node->driver().naming_options();
    const auto entries = naming.entries();
    if (entries.size() == 1 && entries[0].first == "filename") return naming.text("filename");
    const bool just_a_format = node->spec().kind == NodeKind::kFormat && entries.empty() &&
                               !node->origin().children_named && node->primary() != nullptr;
    if (!just_a_format) return std::nullopt;
    node = static_cast<const GraphNode*>(node->primary());
  }
}

OptionDict describe(const GraphNode& node, unsigned depth) {
  OptionDict dict;
  dict.set("driver", std::string(node.spec().name));
  const OptionDict naming = node.driver().naming_options();
  for (const auto& [key, value] : naming.entries()) dict.set(key, value);
  if (depth == kMaxDepth) return dict;
  bool backing = false;
  for (const Node::ChildLink& link : node.children()) {
    const bool implied = link.role == ChildRole::kBacking || link.role == ChildRole::kData;
    backing = backing || link.role == ChildRole::kBacking;
    if (implied && !node.origin().children_named) continue;
    dict.add_subtree(link.name, describe(static_cast<const GraphNode&>(*link.node), depth + 1));
  }
  if (!backing && node.origin().children_named && node.driver().backing_reference()) {
    dict.set("backing", std::monostate());
  }
  return dict;
}

}  // namespace

std::string GraphNode::filename() const {
  if (driver_ == nullptr) return name_;
  if (std::optional<std::string> plain = plain_name(*this)) return *plain;
  return describe(*this, 0).to_json_name();
}

}  // namespace ashlar
