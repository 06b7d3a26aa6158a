// Limits of a backend: joining a group, and letting requests past the limits while it is drained.
#include <set>

#include "backend/backend_impl.h"

namespace ashlar {

Task<void> BackendImpl::set_throttle(std::shared_ptr<ThrottleGroup> group) {
  const Mutex::Guard changing = co_await medium_changes_.lock();
  co_await drain_begin();
  throttle_.store(nullptr);
  throttle_member_.reset();
  if (group) {
    auto lifted = [this] { return limits_lifted_.load(); };
    throttle_member_ = std::make_unique<ThrottleMember>(std::move(group), lifted);
    throttle_.store(throttle_member_.get());
  }
  drain_end();
}

std::shared_ptr<ThrottleGroup> BackendImpl::throttle() const {
  return throttle_member_ ? throttle_member_->group() : nullptr;
}

/// Requests in flight end as fast as they can: who drains must not wait for a slow group.
void BackendImpl::lift_limits() {
  if (drained_ == 1 && root_.child() != nullptr) {
    std::set<const GraphNode*> seen;
    std::vector<GraphNode*> to_visit{root_.child()};
    while (!to_visit.empty()) {
      GraphNode& node = *to_visit.back();
      to_visit.pop_back();
      if (!seen.insert(&node).second) continue;
      if (auto lifted = node.driver().lift_limits()) lifted_below_.push_back(std::move(lifted));
      for (const auto& edge : node.edges()) {
        if (edge->child() != nullptr) to_visit.push_back(edge->child());
      }
    }
  }
  limits_lifted_.store(true);
  if (throttle_member_) throttle_member_->release();
}

void BackendImpl::restore_limits() {
  limits_lifted_.store(false);
  lifted_below_.clear();
}

}  // namespace ashlar
