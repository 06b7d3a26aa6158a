// Draining all backends above some nodes.
#include "graph/held_requests.h"

#include <set>

#include "async/sync.h"
#include "graph/transaction.h"

namespace ashlar {

Task<HeldRequests> HeldRequests::above(std::vector<GraphNode*> nodes) {
  std::set<RootUser*> users;
  for (GraphNode* node : nodes) {
    for (RootUser* user : users_above(*node)) users.insert(user);
  }
  HeldRequests held;
  Scope holding;
  for (RootUser* user : users) {
    held.users_.push_back(user);
    holding.spawn(user->hold_requests());  // all at once: they may wait for each other's requests
  }
  co_await holding.join();
  co_return std::move(held);
}

}  // namespace ashlar
