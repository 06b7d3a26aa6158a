// The backend: a gate for requests above a replaceable root edge.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "ashlar/backend.h"
#include "ashlar/node.h"
#include "async/epoch.h"
#include "async/sync.h"
#include "backend/error_policy.h"
#include "backend/statistics.h"
#include "backend/throttle_group.h"
#include "graph/graph_node.h"
#include "graph/root_user.h"

namespace ashlar {

class GraphState;

class BackendImpl final : public Backend, public RootUser {
 public:
  BackendImpl(GraphState& graph, std::string name);

  // Backend, and what of it the graph asks too
  const std::string& name() const noexcept override { return name_; }
  Task<Result<void>> read(ByteRange range, MutableBuffers into) override;
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags) override;
  Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags) override;
  Task<Result<void>> discard(ByteRange range) override;
  Task<Result<void>> flush() override;
  Task<Result<Extent>> status(ByteRange range, unsigned layers) override;
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override;
  Result<uint64_t> size() const override;
  bool writable() const override;
  std::optional<uint64_t> allocated_size() const override;
  void set_write_cache(WriteCache mode) override { write_cache_.store(mode); }

  bool has_medium() const override { return medium_.load() != nullptr; }
  Node* root() const override { return medium_.load(); }
  Result<void> set_permissions(Permissions used, Permissions shared) override;
  Task<Result<void>> insert_medium(NodeRef node) override;
  Task<Result<void>> eject_medium(Eject how) override;
  Task<Result<void>> change_medium(NodeRef node, Eject how) override;

  Result<void> attach_device(DeviceCallbacks& device, Origin origin) override;
  void detach_device() override;
  DeviceCallbacks* device() const override { return device_; }

  void remove_name() override;
  Task<Result<void>> remove() override;
  Task<void> drain_begin() override;
  void drain_end() override;

  Task<void> set_throttle(std::shared_ptr<ThrottleGroup> group) override;
  std::shared_ptr<ThrottleGroup> throttle() const override;

  void set_error_policy(ErrorPolicy on_read, ErrorPolicy on_write) override {
    errors_.set(on_read, on_write);
  }
  void set_observer(BackendObserver* observer) override { errors_.set_observer(observer); }
  void resume() override { errors_.resume(); }
  bool stopped() const override { return errors_.stopped(); }
  BackendStatistics statistics() const override { return statistics_.sum(); }

  // RootUser
  Task<void> hold_requests() override;
  void release_requests() override;
  void root_changed() override;
  void corruption_found(const std::string& node, const Error& error) override;
  Task<Result<void>> shut_down() override;
  bool is_shut_down() const noexcept override { return shut_down_; }

  // BackendRef
  void reference() noexcept { ++references_; }
  void unreference() noexcept;

 private:
  struct Read;
  struct Write;
  struct WriteZeroes;
  struct Discard;
  struct Flush;

  template <typename Operation>
  Task<Result<void>> serve(Operation operation);
  Task<Result<Gate::Pass>> enter_late();
  template <typename Operation>
  Result<void> admit(const GraphNode* node, const Operation& operation) const;
  Result<void> admit_range(const GraphNode& node, ByteRange range) const;
  Result<void> admit_write(const GraphNode& node) const;
  Error no_medium() const;
  /// Awaitable: continues when the limits allow `operation`.
  template <typename Operation>
  static ThrottleMember::AdmitAwaiter within_limits(ThrottleMember& member,
                                                    const Operation& operation);
  void lift_limits();
  void restore_limits();
  bool through() const noexcept { return write_cache_.load() == WriteCache::kThrough; }

  Task<Result<void>> resize_here(uint64_t size, ResizeFlags flags);
  Task<Result<void>> resize_root(GraphNode& node, uint64_t size, ResizeFlags flags);
  Result<void> ask_for_medium(Eject how);
  Result<void> check_open() const;
  Task<Result<void>> set_root(NodeRef node);
  Task<void> wait_for_close(NodeRef old);
  void show_root(GraphNode* node);
  void tell_of_change(bool was_empty);
  void describe_user();
  std::string describe() const;
  Task<void> destroy();
  static Task<void> remove_with_device(BackendRef self);

  GraphState& graph_;
  std::string name_;
  Edge root_;
  /// What requests see: root_.child(), or null while that is on its way out.
  std::atomic<GraphNode*> medium_{nullptr};
  mutable std::mutex shown_;  // keeps the shown medium in place for those without a pass
  Gate gate_;
  ErrorPolicies errors_;
  StatisticsSlots statistics_;
  std::atomic<WriteCache> write_cache_{WriteCache::kBack};
  Mutex head_writes_;                               // to a disk whose format was guessed
  std::atomic<ThrottleMember*> throttle_{nullptr};  // throttle_member_; changes while drained
  std::atomic<bool> limits_lifted_{false};

  // Control loop only.
  Mutex medium_changes_;
  std::unique_ptr<ThrottleMember> throttle_member_;
  std::vector<std::unique_ptr<LiftedLimits>> lifted_below_;
  DeviceCallbacks* device_ = nullptr;
  Origin device_origin_ = Origin::kIndependent;
  unsigned drained_ = 0;
  unsigned references_ = 0;
  uint64_t told_size_ = 0;
  bool shut_down_ = false;
  bool dying_ = false;
  bool dead_ = false;  // nothing is left to wait for but references
};

}  // namespace ashlar
