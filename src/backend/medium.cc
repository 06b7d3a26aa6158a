// The medium of a backend: inserting, ejecting, changing and resizing it.
#include "async/on_loop.h"
#include "backend/backend_impl.h"
#include "graph/graph_state.h"
#include "graph/held_requests.h"
#include "graph/transaction.h"
#include "request/request.h"

namespace ashlar {

void BackendImpl::show_root(GraphNode* node) {
  std::lock_guard lock(shown_);
  medium_.store(node, std::memory_order_release);
  told_size_ = node == nullptr ? 0 : node->size();
}

/// Puts `node` (or nothing) under the root edge, with no request in flight. All or nothing.
Task<Result<void>> BackendImpl::set_root(NodeRef node) {
  co_await drain_begin();
  Mutex::Guard changing = co_await graph_.changes().lock();
  auto* to = static_cast<GraphNode*>(node.get());
  Result<void> done;
  {
    Transaction change(graph_);
    done = change.point(root_, to);
    if (done) done = change.apply();
    // To use nothing is always allowed: a lock that cannot be let go does no harm.
    if (to == nullptr) done = ok();
    if (done) {
      show_root(to);
      change.commit();
    }
  }
  changing.unlock();
  drain_end();
  co_return done;
}

/// Until what was the medium has closed, unless others use it: who is told that it has gone may
/// open its image. An error is told when the graph closes, as the change stands.
Task<void> BackendImpl::wait_for_close(NodeRef old) {
  if (!old) co_return;
  std::vector<NodeRef> nodes;
  nodes.push_back(std::move(old));
  Result<void> closed = co_await graph_.close_unused(std::move(nodes));
  if (!closed) graph_.note_close_error(closed.error());
}

Result<void> BackendImpl::check_open() const {
  if (!shut_down_) return ok();
  return fail(Error(ErrorCode::kClosed, "the graph is closed").because("graph-closed"));
}

Result<void> BackendImpl::set_permissions(Permissions used, Permissions shared) {
  Transaction change(graph_);
  change.set_permissions(root_, used, shared);
  Result<void> applied = change.apply();
  if (applied) change.commit();
  return applied;
}

Task<Result<void>> BackendImpl::insert_medium(NodeRef node) {
  const Mutex::Guard changing = co_await medium_changes_.lock();
  if (Result<void> open = check_open(); !open) co_return open;
  if (!node) {
    co_return fail(ErrorCode::kInvalidArgument, "there is no node to insert as a medium");
  }
  if (root_.child() != nullptr) {
    co_return fail(Error(ErrorCode::kBusy, "there is a medium in " + describe() + " already")
                       .because("medium-present", {name_}));
  }
  if (device_ != nullptr && device_->has_tray() && !device_->tray_open()) {
    co_return fail(Error(ErrorCode::kBusy, "the tray of " + describe() + " is closed")
                       .because("tray-closed", {name_}));
  }
  Result<void> inserted = co_await set_root(std::move(node));
  if (inserted && device_ != nullptr) {
    device_->medium_changed(DeviceCallbacks::Medium::kInserted);
  }
  co_return inserted;
}

/// Whether the device lets go of what is in it.
Result<void> BackendImpl::ask_for_medium(Eject how) {
  if (device_ == nullptr || how == Eject::kForce) return ok();
  if (device_->eject_requested() && !device_->tray_locked()) return ok();
  return fail(Error(ErrorCode::kBusy,
                    device_->describe() + " is locked; it has been asked to let its medium go")
                  .because("device-locked", {name_, device_->describe()}));
}

Task<Result<void>> BackendImpl::eject_medium(Eject how) {
  Mutex::Guard changing = co_await medium_changes_.lock();
  if (root_.child() == nullptr) co_return ok();
  if (Result<void> allowed = ask_for_medium(how); !allowed) co_return allowed;
  NodeRef old(root_.child());
  if (device_ != nullptr && device_->has_tray() && !device_->tray_open()) {
    device_->tray_moved(true);
  }
  Result<void> ejected = co_await set_root(NodeRef());
  if (device_ != nullptr) device_->medium_changed(DeviceCallbacks::Medium::kRemoved);
  changing.unlock();
  co_await wait_for_close(std::move(old));
  co_return ejected;
}

/// Once, though a tray that was closed opens and closes around it.
void BackendImpl::tell_of_change(bool was_empty) {
  if (device_ == nullptr) return;
  const bool tray = device_->has_tray();
  if (tray && !device_->tray_open()) device_->tray_moved(true);
  device_->medium_changed(was_empty ? DeviceCallbacks::Medium::kInserted
                                    : DeviceCallbacks::Medium::kChanged);
  if (tray) device_->tray_moved(false);
}

Task<Result<void>> BackendImpl::change_medium(NodeRef node, Eject how) {
  Mutex::Guard changing = co_await medium_changes_.lock();
  if (Result<void> open = check_open(); !open) co_return open;
  if (!node) co_return fail(ErrorCode::kInvalidArgument, "there is no node to change to");
  NodeRef old(root_.child());
  const bool was_empty = !old;
  if (!was_empty) {
    if (Result<void> allowed = ask_for_medium(how); !allowed) co_return allowed;
  }
  Result<void> changed = co_await set_root(std::move(node));
  if (!changed) co_return changed;
  tell_of_change(was_empty);
  changing.unlock();
  co_await wait_for_close(std::move(old));
  co_return changed;
}

Task<Result<void>> BackendImpl::resize(uint64_t size, ResizeFlags flags) {
  Loop& control = graph_.runtime().control_loop();
  if (&Loop::current() == &control) co_return co_await resize_here(size, flags);
  OnLoop<Result<void>> there(control, resize_here(size, flags));
  co_return co_await there;
}

Task<Result<void>> BackendImpl::resize_here(uint64_t size, ResizeFlags flags) {
  const Mutex::Guard changing = co_await medium_changes_.lock();
  const NodeRef node(medium_.load());
  if (!node) co_return fail(no_medium());
  auto& root = static_cast<GraphNode&>(*node);
  if (root.read_only()) co_return admit_write(root);
  const Mutex::Guard others = co_await graph_.changes().lock();
  const std::vector<GraphNode*> resized{&root};
  const HeldRequests held = co_await HeldRequests::above(resized);
  // Resizing is asked for only while it is done: between, others may.
  const Permissions used = root_.used();
  const Permissions shared = root_.shared();
  if (Result<void> allowed = set_permissions(used | Permission::kResize, shared); !allowed) {
    co_return allowed;
  }
  Result<void> done = co_await request::resize(root, size, flags);
  (void)set_permissions(used, shared);  // less than now: not refused
  for (RootUser* user : users_above(root)) user->root_changed();
  co_return done;
}

void BackendImpl::root_changed() {
  if (medium_.load() == nullptr) return;  // none, or on its way out
  const uint64_t before = told_size_;
  show_root(root_.child());
  if (told_size_ != before && device_ != nullptr) device_->resized(told_size_);
}

}  // namespace ashlar
