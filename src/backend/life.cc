// How a backend lives: names, devices, drains, and its end.
#include "async/on_loop.h"
#include "backend/backend_impl.h"
#include "graph/graph_state.h"
#include "graph/transaction.h"
#include "request/request.h"

namespace ashlar {

namespace {

constexpr Permissions kFirstUsed = Permission::kConsistentRead;

}  // namespace

BackendImpl::BackendImpl(GraphState& graph, std::string name)
    : graph_(graph), name_(std::move(name)), root_(*this, {}), errors_(*this) {
  describe_user();
  (void)set_permissions(kFirstUsed, Permissions::all());  // without a medium nobody minds
}

std::string BackendImpl::describe() const {
  if (!name_.empty()) return "backend \"" + name_ + "\"";
  return device_ != nullptr ? device_->describe() : "an anonymous backend";
}

void BackendImpl::describe_user() { root_.set_user(describe()); }

Result<void> BackendImpl::attach_device(DeviceCallbacks& device, Origin origin) {
  if (device_ != nullptr) {
    return fail(Error(ErrorCode::kBusy, describe() + " is in use by " + device_->describe())
                    .because("device-attached", {name_, device_->describe()}));
  }
  device_ = &device;
  device_origin_ = origin;
  reference();
  describe_user();
  if (drained_ != 0) device.drained_begin();
  return ok();
}

void BackendImpl::detach_device() {
  if (device_ == nullptr) return;
  DeviceCallbacks& device = *std::exchange(device_, nullptr);
  if (drained_ != 0) device.drained_end();
  describe_user();
  (void)set_permissions(kFirstUsed, Permissions::all());  // less than before: not refused
  if (std::exchange(device_origin_, Origin::kIndependent) == Origin::kMadeForDevice) {
    remove_name();
    show_root(nullptr);
    graph_.background(remove_with_device(BackendRef(this)));
  }
  unreference();
}

Task<void> BackendImpl::remove_with_device(BackendRef self) {
  // By value: the reference in this frame keeps the backend.
  auto& backend = static_cast<BackendImpl&>(*self);
  (void)co_await backend.remove();
}

void BackendImpl::remove_name() {
  graph_.forget_user_name(name_);
  name_.clear();
  describe_user();
}

Task<Result<void>> BackendImpl::remove() {
  remove_name();
  // At once: requests from here on find no medium; those in flight keep the one they have.
  const bool had_medium = root_.child() != nullptr;
  show_root(nullptr);
  errors_.set(ErrorPolicy::kReport, ErrorPolicy::kReport);
  errors_.resume();
  Mutex::Guard changing = co_await medium_changes_.lock();
  NodeRef old(root_.child());
  Result<void> removed = co_await set_root(NodeRef());
  if (had_medium && device_ != nullptr) {
    device_->medium_changed(DeviceCallbacks::Medium::kRemoved);
  }
  changing.unlock();
  co_await wait_for_close(std::move(old));
  co_return removed;
}

Task<void> BackendImpl::drain_begin() {
  if (drained_++ == 0 && device_ != nullptr) device_->drained_begin();
  lift_limits();
  co_await gate_.close();
}

void BackendImpl::drain_end() {
  if (drained_ == 1) restore_limits();
  gate_.open();
  if (--drained_ == 0 && device_ != nullptr) device_->drained_end();
}

Task<void> BackendImpl::hold_requests() {
  reference();
  co_await drain_begin();
}

void BackendImpl::release_requests() {
  drain_end();
  unreference();
}

void BackendImpl::corruption_found(const std::string& node, const Error& error) {
  if (BackendObserver* observer = errors_.observer()) {
    observer->image_corrupted({this, node, error});
  }
}

Task<Result<void>> BackendImpl::shut_down() {
  reference();
  Result<void> flushed = ok();
  {
    const Mutex::Guard changing = co_await medium_changes_.lock();
    shut_down_ = true;
    errors_.set(ErrorPolicy::kReport, ErrorPolicy::kReport);
    errors_.resume();
    co_await drain_begin();
    if (root_.child() != nullptr && !root_.child()->read_only()) {
      flushed = co_await request::flush(*root_.child());
      if (!flushed) flushed = fail(flushed.error().within("flush", describe()));
    }
    if (root_.child() != nullptr) (void)co_await set_root(NodeRef());
    drain_end();
  }
  unreference();
  co_return flushed;
}

void BackendImpl::unreference() noexcept {
  if (--references_ != 0) return;
  if (dead_) {
    graph_.remove_user(*this);
  } else if (!std::exchange(dying_, true)) {
    remove_name();
    const bool idle = root_.child() == nullptr && gate_.inside() == 0 && gate_.waiting() == 0 &&
                      errors_.idle() && drained_ == 0;
    if (idle) {
      graph_.remove_user(*this);
    } else {
      graph_.background(destroy());
    }
  }
}

Task<void> BackendImpl::destroy() {
  {
    const Mutex::Guard changing = co_await medium_changes_.lock();
    co_await set_root(NodeRef());
  }
  // Failed requests that are held end with their error; those that wait find no medium.
  co_await errors_.finish();
  co_await gate_.close();
  dead_ = true;
  if (references_ == 0) graph_.remove_user(*this);
}

}  // namespace ashlar
