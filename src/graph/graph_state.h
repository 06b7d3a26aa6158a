// What a graph keeps: its nodes and backends, their names, and what is being closed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/graph.h"
#include "async/epoch.h"
#include "async/sync.h"
#include "graph/graph_node.h"
#include "graph/root_user.h"

namespace ashlar {

/// Control loop only, but for what says otherwise.
class GraphState {
 public:
  GraphState(Runtime& runtime, Graph::Options options);
  ~GraphState();
  GraphState(const GraphState&) = delete;

  Runtime& runtime() const noexcept { return runtime_; }
  const GraphLimits& limits() const noexcept { return limits_; }
  ReferenceResolver& resolver() const noexcept { return *resolver_; }
  const CredentialStore& credentials() const noexcept { return *credentials_; }
  const ThrottleGroupStore& throttle_groups() const noexcept { return *throttle_groups_; }
  std::span<const DriverSpec* const> drivers() const noexcept { return drivers_; }
  const DriverSpec* find_driver(std::string_view name) const noexcept;
  /// Requests in flight in the whole graph. Any loop.
  EpochDomain& requests() noexcept { return requests_; }
  /// Held while lists of parents change, and by other loops that walk up. Any loop.
  std::mutex& structure() noexcept { return structure_; }

  /// Held by changes that wait between their steps, so that there is one at a time.
  Mutex& changes() noexcept { return changes_; }

  // --- Names. Nodes and backends share one space.

  /// Errors: kInvalidArgument "name-invalid", kExists "name-taken".
  Result<void> check_name(std::string_view name) const;

  // --- Nodes.

  /// A node that is being opened, and already has its name (empty: makes one up).
  Result<NodeRef> add_node(std::string name, const DriverSpec& spec, const OpenFlags& flags);
  /// Makes an opening node an open one.
  void finish_open(GraphNode& node, std::unique_ptr<Driver> driver);
  /// Open nodes only.
  GraphNode* find_node(std::string_view name) const noexcept;
  std::vector<GraphNode*> nodes() const;
  size_t node_count() const noexcept { return nodes_.size(); }
  void reference(GraphNode& node) noexcept { ++node.references_; }
  /// The last reference of an unused node starts its close.
  void unreference(GraphNode& node) noexcept;
  /// Takes the name of a node without parents; nothing can come to use it any more.
  void begin_close(GraphNode& node) noexcept;
  /// Closes a node without parents now. What it alone used closes in the background.
  Task<Result<void>> close_node(GraphNode& node);
  /// Closes those of `nodes` that only these references hold, and what only they used; waits for
  /// these closes and no others. The first error counts.
  Task<Result<void>> close_unused(std::vector<NodeRef> nodes);

  // --- Backends.

  RootUser& add_user(std::unique_ptr<RootUser> user);
  void remove_user(RootUser& user) noexcept;
  void note_user_name(std::string_view name, RootUser& user);
  void forget_user_name(std::string_view name) noexcept;
  RootUser* find_user(std::string_view name) const noexcept;
  /// All, in order of creation.
  std::vector<RootUser*> users() const;

  // --- Closing.

  /// Runs `task` on the control loop, when that runs next. Awaited by settle().
  void background(Task<void> task);
  Task<void> settle();
  Task<Result<void>> close();
  /// Remembers the first error of a close that nobody waited for.
  void note_close_error(Error error);

  /// Tells every backend above the node called `node`. Any loop.
  void report_corruption(const std::string& node, const Error& error);
  /// Tells the listener of the node called `node`. Any loop.
  void report_threshold(const std::string& node, WriteWatch::Exceeded exceeded);

 private:
  struct Starter : Posted {
    GraphState* graph = nullptr;
    bool queued = false;
  };
  struct CorruptionReport;
  struct ThresholdReport;
  void start_pending();
  Task<void> close_retired(GraphNode& node);
  void drop(GraphNode& node) noexcept;

  Runtime& runtime_;
  std::span<const DriverSpec* const> drivers_;
  std::unique_ptr<ReferenceResolver> resolver_;
  GraphLimits limits_;
  std::shared_ptr<const CredentialStore> credentials_;
  std::shared_ptr<const ThrottleGroupStore> throttle_groups_;
  EpochDomain requests_;
  std::mutex structure_;
  Mutex changes_;

  std::map<uint64_t, std::unique_ptr<GraphNode>> nodes_;  // in order of creation
  std::map<std::string, GraphNode*, std::less<>> node_names_;
  std::vector<std::unique_ptr<RootUser>> users_;
  std::map<std::string, RootUser*, std::less<>> user_names_;
  uint64_t next_serial_ = 0;
  uint64_t next_auto_name_ = 0;

  std::vector<Task<void>> pending_;
  Starter starter_;
  Scope scope_;
  std::optional<Error> close_error_;
  std::atomic<size_t> reports_{0};  // what other loops have posted to be told
};

/// The way from the public handle to the state, for what implements the graph.
class GraphAccess {
 public:
  static GraphState& state(const Graph& graph);
};

}  // namespace ashlar
