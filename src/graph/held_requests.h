// Requests held off while the graph below them changes.
#pragma once

#include <vector>

#include "graph/graph_node.h"
#include "graph/root_user.h"

namespace ashlar {

/// Every backend above some nodes, drained. Released when this goes.
class [[nodiscard]] HeldRequests {
 public:
  HeldRequests() = default;
  HeldRequests(HeldRequests&& other) noexcept : users_(std::exchange(other.users_, {})) {}
  HeldRequests& operator=(HeldRequests&& other) noexcept {
    std::swap(users_, other.users_);
    return *this;
  }
  ~HeldRequests() {
    for (RootUser* user : users_) user->release_requests();
  }

  /// Returns when no backend above any of `nodes` has a request in flight. The caller holds
  /// GraphState::changes(), so that no backend comes to be there, and keeps `nodes` open.
  static Task<HeldRequests> above(std::vector<GraphNode*> nodes);

 private:
  std::vector<RootUser*> users_;
};

}  // namespace ashlar
