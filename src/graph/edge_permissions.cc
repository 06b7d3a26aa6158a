// The rules of permissions, by role of the edge.
#include "graph/edge_permissions.h"

#include <fmt/format.h>

#include <array>

namespace ashlar {

namespace {

constexpr Permissions kReading = Permission::kConsistentRead;
constexpr Permissions kNoChange = Permission::kConsistentRead | Permission::kWriteUnchanged;
constexpr std::array kEach{Permission::kConsistentRead, Permission::kWrite,
                           Permission::kWriteUnchanged, Permission::kResize};

UseOfNode needs_of_primary(const GraphNode& parent) {
  // A format keeps metadata in its file: nobody else may change that, be it opened to write or not.
  Permissions used = kReading;
  if (!parent.read_only()) used = used | Permission::kWrite | Permission::kResize;
  return {used, kNoChange};
}

UseOfNode needs_of_data(const GraphNode& parent, const UseOfNode& above) {
  // Guest data only: what others may do with it is up to the users of the format.
  Permissions used = kReading | (above.used & (Permission::kWrite | Permission::kWriteUnchanged));
  if (!parent.read_only() && used.has(Permission::kWrite)) used = used | Permission::kResize;
  return {used, above.shared.without(Permission::kResize)};
}

UseOfNode needs_of_backing(const UseOfNode& above) {
  // Who does not mind others to write to the overlay does not mind them to write to its backing.
  Permissions shared = kNoChange;
  if (above.shared.has(Permission::kWrite)) {
    shared = shared | Permission::kWrite | Permission::kResize;
  }
  return {kReading, shared};
}

Error conflict(const GraphNode& node, const Edge& user, const Edge& other) {
  const std::string wanted = user.used().without(other.shared()).describe();
  return Error(ErrorCode::kBusy,
               fmt::format("{} needs {} on node \"{}\", which {} as \"{}\" does not allow",
                           user.user(), wanted, node.name(), other.user(), other.name()))
      .because("permission-conflict",
               {user.user(), wanted, node.name(), other.user(), other.name()});
}

}  // namespace

UseOfNode use_of(const GraphNode& node) {
  UseOfNode use;
  for (const Edge* edge : node.parents()) {
    use.used = use.used | edge->used();
    use.shared = use.shared & edge->shared();
  }
  return use;
}

UseOfNode needs_of(const Edge& edge, const GraphNode& parent, const UseOfNode& above) {
  UseOfNode needs = above;
  switch (edge.role()) {
    case ChildRole::kFiltered:
      break;
    case ChildRole::kPrimary:
      needs = needs_of_primary(parent);
      break;
    case ChildRole::kData:
      needs = needs_of_data(parent, above);
      break;
    case ChildRole::kBacking:
      needs = needs_of_backing(above);
      break;
  }
  if (parent.flags().force_share) needs.shared = Permissions::all();
  return needs;
}

Result<void> check_sharing(const GraphNode& node) {
  for (Permission permission : kEach) {
    // First in one pass: a base image may have a thousand readers.
    bool used = false;
    bool refused = false;
    for (const Edge* edge : node.parents()) {
      used = used || edge->used().has(permission);
      refused = refused || !edge->shared().has(permission);
    }
    if (!used || !refused) continue;
    for (const Edge* user : node.parents()) {
      if (!user->used().has(permission)) continue;
      for (const Edge* other : node.parents()) {
        if (other == user || other->shared().has(permission)) continue;
        return fail(conflict(node, *user, *other));
      }
    }
  }
  return ok();
}

}  // namespace ashlar
