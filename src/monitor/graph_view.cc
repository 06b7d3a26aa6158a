// Taking a view of the graph, and drawing it.
#include "monitor/graph_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "graph/graph_state.h"

namespace ashlar::monitor {
namespace {

using Item = GraphView::Item;
using Link = GraphView::Link;

/// Devices with an anonymous backend are what the backend is called.
std::string device_of(const RootUser& user, const Edge& edge) {
  return user.name().empty() ? edge.user() : std::string();
}

void add_links(GraphView& view, const GraphNode& node, size_t child,
               const std::map<const void*, size_t>& places) {
  for (const Edge* edge : node.parents()) {
    const void* parent = edge->parent() != nullptr ? static_cast<const void*>(edge->parent())
                                                   : static_cast<const void*>(edge->root_user());
    const auto place = places.find(parent);
    if (place == places.end()) continue;  // somebody who looks at the image for a moment
    const std::string name = edge->parent() != nullptr ? edge->name() : "root";
    view.links.push_back({place->second, child, name, edge->used(), edge->shared()});
  }
}

std::string escaped(std::string_view text, std::string_view special, std::string_view lead) {
  std::string out;
  for (const char c : text) {
    if (special.find(c) != special.npos) out += lead;
    out += c;
  }
  return out;
}

std::string xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    }
  }
  return out;
}

std::string letters(Permissions permissions) {
  std::string text;
  if (permissions.has(Permission::kConsistentRead)) text += 'r';
  if (permissions.has(Permission::kWrite)) text += 'w';
  if (permissions.has(Permission::kWriteUnchanged)) text += 'u';
  if (permissions.has(Permission::kResize)) text += 's';
  return text.empty() ? "-" : text;
}

std::string title(const Item& item) {
  if (!item.name.empty()) return item.name;
  return item.detail.empty() ? "(anonymous)" : item.detail;
}

std::string subtitle(const Item& item) {
  if (item.kind == Item::Kind::kNode) return item.detail;
  return item.name.empty() ? "anonymous backend" : "backend";
}

/// How far down each item is: below all of its parents.
std::vector<size_t> layers_of(const GraphView& view) {
  std::vector<size_t> layers(view.items.size(), 0);
  // A graph without circles settles in as many rounds as it has items.
  for (size_t round = 0; round < view.items.size(); ++round) {
    bool moved = false;
    for (const Link& link : view.links) {
      if (layers[link.child] > layers[link.parent]) continue;
      layers[link.child] = layers[link.parent] + 1;
      moved = true;
    }
    if (!moved) break;
  }
  return layers;
}

struct Box {
  size_t x = 0;
  size_t y = 0;
};
constexpr size_t kWidth = 170;
constexpr size_t kHeight = 46;
constexpr size_t kColumn = 200;
constexpr size_t kRow = 110;
constexpr size_t kMargin = 20;

std::string draw_box(const Item& item, Box box) {
  const bool backend = item.kind == Item::Kind::kBackend;
  constexpr size_t kMostLetters = 24;
  return fmt::format(
      "<g><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\" "
      "fill=\"{}\" stroke=\"#333\"/>\n<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" "
      "font-weight=\"bold\">{}</text>\n<text x=\"{}\" y=\"{}\" "
      "text-anchor=\"middle\">{}</text></g>\n",
      xml(title(item)), box.x, box.y, kWidth, kHeight, backend ? 16 : 3,
      backend ? "#dbe9ff" : "#f4f1e4", box.x + kWidth / 2, box.y + 19,
      xml(title(item).substr(0, kMostLetters)), box.x + kWidth / 2, box.y + 36,
      xml(subtitle(item).substr(0, kMostLetters)));
}

std::string draw_link(const Link& link, Box from, Box to) {
  const size_t x1 = from.x + kWidth / 2;
  const size_t y1 = from.y + kHeight;
  const size_t x2 = to.x + kWidth / 2;
  return fmt::format(
      "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"#333\" "
      "marker-end=\"url(#tip)\"/>\n<text x=\"{}\" y=\"{}\" fill=\"#555\">{} ({})</text>\n",
      x1, y1, x2, to.y, (x1 + x2) / 2 + 6, (y1 + to.y) / 2, xml(link.name), letters(link.used));
}

}  // namespace

GraphView view_graph(const Graph& graph) {
  const GraphState& state = GraphAccess::state(graph);
  GraphView view;
  std::map<const void*, size_t> places;
  const std::vector<GraphNode*> nodes = state.nodes();
  for (const RootUser* user : state.users()) {
    places[user] = view.items.size();
    view.items.push_back({Item::Kind::kBackend, user->name(), {}});
  }
  for (const GraphNode* node : nodes) {
    places[node] = view.items.size();
    view.items.push_back({Item::Kind::kNode, node->name(), std::string(node->spec().name)});
  }
  for (const GraphNode* node : nodes) {
    add_links(view, *node, places[node], places);
    for (const Edge* edge : node->parents()) {
      if (edge->root_user() == nullptr || !places.contains(edge->root_user())) continue;
      view.items[places[edge->root_user()]].detail = device_of(*edge->root_user(), *edge);
    }
  }
  return view;
}

std::string to_dot(const GraphView& view) {
  std::string out = "digraph blocks {\n  node [fontname=\"sans\", fontsize=11];\n";
  const auto quoted = [](std::string_view text) { return escaped(text, "\"\\", "\\"); };
  for (size_t index = 0; index < view.items.size(); ++index) {
    const Item& item = view.items[index];
    const bool backend = item.kind == Item::Kind::kBackend;
    out += fmt::format("  n{} [label=\"{}\\n{}\", shape={}];\n", index, quoted(title(item)),
                       quoted(subtitle(item)), backend ? "ellipse" : "box");
  }
  for (const Link& link : view.links) {
    out += fmt::format("  n{} -> n{} [label=\"{} ({})\"];\n", link.parent, link.child,
                       quoted(link.name), letters(link.used));
  }
  return out + "}\n";
}

std::string to_svg(const GraphView& view) {
  const std::vector<size_t> layers = layers_of(view);
  std::vector<size_t> used(view.items.size() + 1, 0);  // boxes per layer
  std::vector<Box> boxes;
  size_t columns = 1;
  size_t rows = 1;
  for (const size_t layer : layers) {
    const size_t column = used[layer]++;
    boxes.push_back({kMargin + column * kColumn, kMargin + layer * kRow});
    columns = std::max(columns, column + 1);
    rows = std::max(rows, layer + 1);
  }
  const size_t width = 2 * kMargin + columns * kColumn;
  const size_t height = 2 * kMargin + rows * kRow - (kRow - kHeight);
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<defs><marker id=\"tip\" markerWidth=\"9\" markerHeight=\"7\" refX=\"9\" refY=\"3.5\" "
      "orient=\"auto\"><path d=\"M0,0 L9,3.5 L0,7 z\" fill=\"#333\"/></marker></defs>\n",
      width, height);
  for (const Link& link : view.links) {
    out += draw_link(link, boxes[link.parent], boxes[link.child]);
  }
  for (size_t index = 0; index < view.items.size(); ++index) {
    out += draw_box(view.items[index], boxes[index]);
  }
  return out + "</svg>\n";
}

}  // namespace ashlar::monitor
