// What users do to dirty bitmaps, as steps of a transaction.
#pragma once

#include <string>
#include <vector>

#include "graph/graph_node.h"
#include "monitor/json.h"
#include "monitor/monitor.h"

namespace ashlar::monitor {

/// The node called `name`, or the medium of the backend of that name.
Result<GraphNode*> find_medium(const Monitor& monitor, const std::string& name);

/// Edits of bitmaps that are taken back unless they are kept. Control loop; requests to the nodes
/// are held from the first edit to the end, and nothing is awaited.
class BitmapEdits {
 public:
  explicit BitmapEdits(const Monitor& monitor) : monitor_(monitor) {}
  BitmapEdits(const BitmapEdits&) = delete;
  ~BitmapEdits();

  // Each with the arguments of the command of that name. Errors are in the client's words.
  Result<void> add(const JsonInput& data);
  Result<void> remove(const JsonInput& data);
  Result<void> clear(const JsonInput& data);
  Result<void> enable(const JsonInput& data) { return set_state(data, State::kEnabled); }
  Result<void> disable(const JsonInput& data) { return set_state(data, State::kDisabled); }
  Result<void> merge(const JsonInput& data);

  void keep() noexcept { before_.clear(); }

 private:
  using State = PersistentBitmap::State;
  struct Before {
    NodeRef node;
    WriteWatch::Bitmaps bitmaps;
    std::vector<std::string> removed;
  };
  Result<GraphNode*> edited(const JsonInput& data);
  Result<void> set_state(const JsonInput& data, State state);

  const Monitor& monitor_;
  std::vector<Before> before_;
};

/// The nodes that an action names, with "node" and in "bitmaps".
Result<std::vector<GraphNode*>> nodes_of_bitmap_action(const Monitor& monitor,
                                                       const JsonInput& data);

/// The bitmaps of a node, as queries show them; empty: there are none.
Json bitmaps_info(GraphNode& node);

/// Of the bits of the bitmap, as text. Errors are in the client's words.
Result<std::string> bitmap_digest(GraphNode& node, const std::string& name);

}  // namespace ashlar::monitor
