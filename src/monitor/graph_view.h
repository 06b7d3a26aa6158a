// The whole graph at one moment, for those who look at it: as data, as DOT, as a drawing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ashlar/graph.h"
#include "ashlar/permissions.h"

namespace ashlar::monitor {

struct GraphView {
  struct Item {
    enum class Kind : uint8_t { kBackend, kNode } kind = Kind::kNode;
    std::string name;    ///< empty for anonymous backends
    std::string detail;  ///< the driver of a node; the device of a backend
  };
  struct Link {
    size_t parent = 0;  ///< index of an item
    size_t child = 0;
    std::string name;
    Permissions used;
    Permissions shared;
  };
  std::vector<Item> items;  ///< backends first, then nodes in the order they were opened
  std::vector<Link> links;
};

/// Control loop only.
GraphView view_graph(const Graph& graph);

/// For graphviz.
std::string to_dot(const GraphView& view);
/// A drawing of layers from backends at the top to storage at the bottom.
std::string to_svg(const GraphView& view);

}  // namespace ashlar::monitor
