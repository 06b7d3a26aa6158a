// Opening a tree of nodes from options.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "ashlar/driver.h"
#include "ashlar/options.h"
#include "async/sync.h"
#include "graph/graph_state.h"

namespace ashlar {

/// The layers of a backing chain so far, to refuse endless ones.
struct ChainSoFar {
  std::set<std::string> names;  ///< of their storage, made comparable
  unsigned depth = 0;
};

/// What to open, and where in the tree it will be.
struct TreeRequest {
  OptionDict options;
  OpenFlags defaults;
  GraphNode* owner = nullptr;  ///< the node whose options these were part of
  /// Without a driver: an image is probed, storage is a plain file name.
  enum class Level : uint8_t { kImage, kStorage } level = Level::kImage;
  unsigned nesting = 0;  ///< of trees opened to open this one
  ChainSoFar* chain = nullptr;
};

/// One opening, with all that belongs to it. Backing chains are opened in a loop, other children by
/// recursion, whose depth is limited.
class OpenSession {
 public:
  explicit OpenSession(GraphState& graph) : graph_(graph) {}
  OpenSession(const OpenSession&) = delete;

  Task<Result<NodeRef>> open_tree(TreeRequest request);

  /// The child that `options` describe as "name" (a node-name) or "name.*", which are taken out.
  /// Errors: kInvalidArgument "child-missing", kNotFound "node-not-found".
  Task<Result<NodeRef>> open_child(OptionDict& options, std::string name, TreeRequest request);

  /// Closes what this opening has opened and nobody else uses: all of it after an error.
  Task<Result<void>> close();

  GraphState& graph() const noexcept { return graph_; }

 private:
  struct Layer;
  struct BackingChoice;
  class Context;

  Task<Result<void>> close_since(size_t count);
  Task<Result<Layer>> open_layer(TreeRequest& request);
  Task<Result<const DriverSpec*>> choose_driver(TreeRequest& request, Layer& layer);
  Task<Result<void>> open_node(TreeRequest& request, Layer& layer, const DriverSpec& spec);
  Task<Result<NodeRef>> find_existing(std::string name);
  Result<std::optional<TreeRequest>> next_layer(const TreeRequest& request, Layer& layer);
  Result<std::optional<OptionDict>> backing_options(Layer& layer);
  Result<void> add_to_chain(ChainSoFar& chain, const OptionDict& options);

  GraphState& graph_;
  std::vector<NodeRef> added_;           // kept for as long as this lasts
  std::optional<Mutex::Guard> changes_;  // from the first use of a node that was open before
};

/// Makes `child` a child of `parent`. Errors: of permissions and locks.
Result<Edge*> attach_child(GraphNode& parent, std::string name, ChildRole role, GraphNode& child);

/// How much of an image its format is guessed from.
inline constexpr size_t kProbedBytes = 2048;
/// The format that is surest that `head` is its; null: none claims it.
const DriverSpec* guess_format(std::span<const DriverSpec* const> drivers,
                               std::span<const std::byte> head) noexcept;
/// Whether `format` is what an image is taken for when nothing else claims it.
bool claims_anything(const DriverSpec& format) noexcept;

/// The format of what is in `storage`. Errors: kWrongFormat "format-unknown".
Task<Result<const DriverSpec*>> probe_format(GraphState& graph, NodeRef storage);

}  // namespace ashlar
