// Nodes and edges as the layer itself sees them: what Node and Child hide from tools and drivers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ashlar/driver.h"
#include "ashlar/node.h"
#include "async/epoch.h"
#include "async/sync.h"
#include "graph/extent_index.h"

namespace ashlar {

class Edge;
class GraphState;  // src/graph/graph_state.h: what Graph::Impl keeps

/// A node. Structure (edges, driver, flags) changes only on the control loop with the affected
/// requests drained; size and the request state change under their own rules.
class GraphNode final : public Node, public NodeHost {
 public:
  GraphNode(GraphState& graph, std::string name, const DriverSpec& spec, OpenFlags flags);
  ~GraphNode() override;

  // Node
  const std::string& name() const noexcept override { return name_; }
  const DriverSpec& spec() const noexcept override { return *spec_; }
  Driver& driver() const noexcept override { return *driver_; }
  const OpenFlags& flags() const noexcept override { return flags_; }
  std::string filename() const override;
  uint64_t size() const noexcept override { return size_.load(std::memory_order_acquire); }
  NodeInfo info() const noexcept override { return info_; }
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
  void invalidate_resolved() noexcept;
  /// Reads driver().info() again, after a resize or reopen.
  void refresh_info() noexcept;
  /// Writes since the last flush: a flush with none has nothing to do.
  std::atomic<uint64_t>& write_generation() noexcept { return write_generation_; }
  std::atomic<uint64_t>& flushed_generation() noexcept { return flushed_generation_; }

 private:
  friend class GraphState;
  GraphState& graph_;
  std::string name_;
  const DriverSpec* spec_;
  std::unique_ptr<Driver> driver_;
  FormatDriver* format_ = nullptr;
  OpenFlags flags_;
  NodeInfo info_;
  std::atomic<uint64_t> size_{0};
  std::vector<std::unique_ptr<Edge>> children_;
  std::vector<Edge*> parents_;  // edges whose child this is
  std::atomic<Edge*> backing_{nullptr};
  RangeLock write_ranges_;
  ExtentIndex resolved_;
  std::atomic<uint64_t> write_generation_{0};
  std::atomic<uint64_t> flushed_generation_{0};
  unsigned references_ = 0;  // NodeRef
};

/// Parent → child. The parent is a node, or a backend (then `parent` is null).
class Edge final : public Child {
 public:
  Edge(GraphNode* parent, std::string user, std::string name, ChildRole role);

  GraphNode* parent() const noexcept { return parent_; }
  GraphNode* child() const noexcept { return child_; }
  ChildRole role() const noexcept { return role_; }
  Permissions used() const noexcept { return used_; }
  Permissions shared() const noexcept { return shared_; }
  /// Who this is, for messages: `node "n0"`, `backend "drive0"`.
  const std::string& user() const noexcept { return user_; }

  // Child. The requests are implemented in src/request.
  const std::string& name() const noexcept override { return name_; }
  NodeInfo info() const noexcept override { return child_->info(); }
  uint64_t size() const noexcept override { return child_->size(); }
  bool writable() const noexcept override { return used_.has(Permission::kWrite); }
  std::string filename() const override { return child_->filename(); }
  std::optional<uint64_t> allocated_size() const override {
    return child_->driver().allocated_size();
  }
  Task<Result<void>> read(ByteRange range, MutableBuffers into) override;
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags) override;
  Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags) override;
  Task<Result<void>> discard(ByteRange range) override;
  Task<Result<void>> flush() override;
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override;
  Task<Result<Extent>> status(ByteRange range) override;

 private:
  friend class GraphState;
  GraphNode* parent_;
  GraphNode* child_ = nullptr;
  std::string user_;
  std::string name_;
  ChildRole role_;
  Permissions used_;
  Permissions shared_ = Permissions::all();
};

}  // namespace ashlar
