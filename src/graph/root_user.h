// What the graph knows of a backend: somebody on top with a root edge, who can be asked to wait.
#pragma once

#include <string>

#include "ashlar/error.h"
#include "ashlar/task.h"

namespace ashlar {

class GraphNode;

/// Implemented by backends. Control loop only.
class RootUser {
 public:
  virtual ~RootUser() = default;
  /// Empty for anonymous ones.
  virtual const std::string& name() const noexcept = 0;
  /// Lets no request start and waits until none is in flight. Counted; keeps this alive until the
  /// release.
  virtual Task<void> hold_requests() = 0;
  virtual void release_requests() = 0;
  /// The graph below the root edge is another one, or the root has another size.
  virtual void root_changed() = 0;
  virtual void corruption_found(const std::string& node, const Error& error) = 0;
  /// Flushes and empties it, as the graph is closed.
  virtual Task<Result<void>> shut_down() = 0;
  virtual bool is_shut_down() const noexcept = 0;
};

}  // namespace ashlar
