// Nodes and edges as the layer itself sees them: what Node and Child hide from tools and drivers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ashlar/driver.h"
#include "ashlar/node.h"
#include "async/epoch.h"
#include "async/sync.h"
#include "graph/extent_index.h"
#include "graph/generic_options.h"
#include "graph/write_watch.h"

namespace ashlar {

class Edge;
class GraphState;   // src/graph/graph_state.h
class RootUser;     // src/graph/root_user.h
class Transaction;  // src/graph/transaction.h

/// A node. Structure (edges, driver, flags) changes only on the control loop with the affected
/// requests drained; size and the request state change under their own rules.
class GraphNode final : public Node, public NodeHost {
 public:
  enum class State : uint8_t { kOpening, kOpen, kClosing, kClosed };

  GraphNode(GraphState& graph, std::string name, const DriverSpec& spec, OpenFlags flags);
  ~GraphNode() override;

  // Node
  const std::string& name() const noexcept override { return name_; }
  const DriverSpec& spec() const noexcept override { return *spec_; }
  Driver& driver() const noexcept override { return *driver_; }
  const OpenFlags& flags() const noexcept override { return flags_; }
  std::string filename() const override;
  uint64_t size() const noexcept override { return size_.load(std::memory_order_acquire); }
  NodeInfo info() const noexcept override;
  std::vector<ChildLink> children() const override;
  Node* backing() const noexcept override;
  Node* primary() const noexcept override;
  Permissions used() const noexcept override;

  // NodeHost
  const std::string& node_name() const override { return name_; }
  bool has_backing() const override { return backing_edge() != nullptr; }
  EpochDomain& requests() override;
  void image_corrupted(const Error& error) override;

  // For src/request: everything a request needs, without a virtual call.
  FormatDriver* format() const noexcept { return format_; }
  /// All but the size, which is size().
  const NodeInfo& info_ref() const noexcept { return info_; }
  Edge* backing_edge() const noexcept { return backing_.load(std::memory_order_acquire); }
  bool read_only() const noexcept { return flags_.read_only; }
  /// Serialises allocating writes, read-modify-write, zeroing and discarding by range.
  RangeLock& write_ranges() noexcept { return write_ranges_; }
  /// Extents of the chain from this node down, as resolved before. See extent_index.h.
  ExtentIndex& resolved() noexcept { return resolved_; }
  /// A write went up to `end`: the device is at least that large now.
  void note_grown_to(uint64_t end) noexcept {
    uint64_t seen = size_.load(std::memory_order_relaxed);
    while (seen < end && !size_.compare_exchange_weak(seen, end)) {
    }
  }
  /// What this node reads as has changed: forget extents resolved here and in the layers above.
  /// Costs one load where no chain is read through this node.
  void invalidate_resolved() noexcept {
    if (in_chain_.load()) forget_resolved_above();
  }
  /// What is about to be written, zeroed or discarded: each such request says so before it starts.
  void note_write(ByteRange range) noexcept {
    if (watch_.active()) note_watched_write(range);
  }
  WriteWatch& watch() noexcept { return watch_; }
  /// Reads driver().info() again, after a resize or reopen.
  void refresh_info() noexcept;
  /// Writes since the last flush: a flush with none has nothing to do.
  std::atomic<uint64_t>& write_generation() noexcept { return write_generation_; }
  std::atomic<uint64_t>& flushed_generation() noexcept { return flushed_generation_; }

  // For src/graph and src/backend, on the control loop.
  GraphState& graph() const noexcept { return graph_; }
  State state() const noexcept { return state_; }
  std::span<const std::unique_ptr<Edge>> edges() const noexcept { return children_; }
  std::span<Edge* const> parents() const noexcept { return parents_; }
  /// The child edge called `name`, or null.
  Edge* find_edge(std::string_view name) const noexcept;
  /// The storage that holds this image: down by primary() as far as it goes.
  GraphNode& primary_storage() noexcept;
  /// What was asked for this node by itself, and what it takes from its surroundings where nothing
  /// was. The parent that opened it as part of its own options passes its own on; null: none did.
  struct Origin {
    GenericOptions asked;
    OpenFlags defaults;
    GraphNode* owner = nullptr;
    /// Children that options named instead of the image: shown in the node's file name.
    bool children_named = false;
  };
  Origin& origin() noexcept { return origin_; }
  const Origin& origin() const noexcept { return origin_; }

 private:
  friend class GraphState;
  friend class Transaction;
  void forget_resolved_above() noexcept;
  void note_watched_write(ByteRange range) noexcept;

  GraphState& graph_;
  std::string name_;
  const DriverSpec* spec_;
  std::unique_ptr<Driver> driver_;
  FormatDriver* format_ = nullptr;
  OpenFlags flags_;
  Origin origin_;
  State state_ = State::kOpening;
  NodeInfo info_;
  std::atomic<uint64_t> size_{0};
  std::vector<std::unique_ptr<Edge>> children_;
  std::vector<Edge*> parents_;  // edges whose child this is; changes under GraphState::structure()
  std::atomic<Edge*> backing_{nullptr};
  std::atomic<bool> in_chain_{false};  // may be below a backing edge: see forget_resolved_above()
  RangeLock write_ranges_;
  ExtentIndex resolved_;
  WriteWatch watch_;
  std::atomic<uint64_t> write_generation_{0};
  std::atomic<uint64_t> flushed_generation_{0};
  Permissions told_used_;  // what the driver was told last
  Permissions told_shared_ = Permissions::all();
  uint64_t serial_ = 0;      // its key in the graph
  unsigned references_ = 0;  // NodeRef
};

/// Parent → child. The parent is a node, or a backend (then `parent` is null).
class Edge final : public Child {
 public:
  Edge(GraphNode* parent, std::string user, std::string name, ChildRole role);
  /// From a backend.
  Edge(RootUser& root, std::string user);

  GraphNode* parent() const noexcept { return parent_; }
  RootUser* root_user() const noexcept { return root_user_; }
  GraphNode* child() const noexcept { return child_; }
  ChildRole role() const noexcept { return role_; }
  Permissions used() const noexcept { return used_.load(std::memory_order_relaxed); }
  Permissions shared() const noexcept { return shared_; }
  /// Who this is, for messages: `node "n0"`, `backend "drive0"`.
  const std::string& user() const noexcept { return user_; }
  void set_user(std::string user) { user_ = std::move(user); }

  // Child. The requests are implemented in src/request.
  const std::string& name() const noexcept override { return name_; }
  NodeInfo info() const noexcept override { return child_->info(); }
  uint64_t size() const noexcept override { return child_->size(); }
  bool writable() const noexcept override { return used().has(Permission::kWrite); }
  std::string filename() const override { return child_->filename(); }
  std::optional<uint64_t> allocated_size() const override {
    return child_->driver().allocated_size();
  }
  Task<Result<void>> read(ByteRange range, MutableBuffers into) override;
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags) override;
  Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags) override;
  Task<Result<void>> discard(ByteRange range) override;
  Task<Result<void>> reserve(ByteRange range) override;
  Task<Result<void>> flush() override;
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override;
  Task<Result<Extent>> status(ByteRange range) override;

 private:
  friend class Transaction;
  GraphNode* parent_;
  RootUser* root_user_ = nullptr;
  GraphNode* child_ = nullptr;
  std::string user_;
  std::string name_;
  ChildRole role_;
  std::atomic<Permissions> used_{Permissions::none()};  // drivers ask writable() on any loop
  Permissions shared_ = Permissions::all();
};

}  // namespace ashlar
