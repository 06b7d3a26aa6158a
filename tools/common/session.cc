// Start and end of a command's graph.
#include "tools/common/session.h"

#include "ashlar/builtin.h"
#include "tools/common/peer_text.h"

namespace ashlar::tools {

Session::Session(Program& program, Trust trust, const RuntimeOptions& runtime, Objects objects)
    : program_(program), objects_(std::move(objects)) {
  runtime_ = Runtime::create(runtime);
  Graph::Options options;
  options.drivers = builtin_drivers();
  options.throttle_groups = objects_.throttle_groups();
  options.resolver = trust == Trust::kImages ? follow_references() : refuse_references();
  // The objects outlive the graph.
  options.credentials =
      std::shared_ptr<const CredentialStore>(std::shared_ptr<const CredentialStore>(), &objects_);
  graph_ = std::make_unique<Graph>(*runtime_, std::move(options));
}

Session::~Session() {
  const Result<void> closed = close();
  if (!closed) program_.error(peer_text(closed.error()));
}

Result<void> Session::close() {
  if (!graph_) return ok();
  const Result<void> closed = wait(graph_->close());
  graph_.reset();
  return closed;
}

}  // namespace ashlar::tools
