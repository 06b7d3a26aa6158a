// Backends by name, as the graph offers them, and counted references to them.
#include "ashlar/graph.h"
#include "backend/backend_impl.h"
#include "graph/graph_state.h"

namespace ashlar {

BackendRef::BackendRef(Backend* backend) : backend_(backend) {
  // Every backend is a BackendImpl: only graphs make them.
  if (backend != nullptr) static_cast<BackendImpl*>(backend)->reference();
}

BackendRef::~BackendRef() {
  if (backend_ != nullptr) static_cast<BackendImpl*>(backend_)->unreference();
}

Result<BackendRef> Graph::create_backend(std::string_view name) {
  GraphState& state = GraphAccess::state(*this);
  if (!name.empty()) {
    if (Result<void> free = state.check_name(name); !free) return fail(free.error());
  }
  auto backend = std::make_unique<BackendImpl>(state, std::string(name));
  BackendImpl& added = *backend;
  state.add_user(std::move(backend));
  if (!name.empty()) state.note_user_name(name, added);
  return BackendRef(&added);
}

BackendRef Graph::find_backend(std::string_view name) const {
  RootUser* user = GraphAccess::state(*this).find_user(name);
  return BackendRef(user == nullptr ? nullptr : static_cast<BackendImpl*>(user));
}

std::vector<BackendRef> Graph::backends() const {
  std::vector<BackendRef> named;
  for (RootUser* user : GraphAccess::state(*this).users()) {
    if (!user->name().empty()) named.emplace_back(static_cast<BackendImpl*>(user));
  }
  return named;
}

}  // namespace ashlar
