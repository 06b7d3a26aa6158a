// The daemon among the services of a machine: going to the background, telling the service manager
// that it is ready, taking over sockets from it.
#pragma once

#include <optional>

#include "async/owned_descriptor.h"
#include "tools/common/program.h"

namespace ashlar::tools {

/// Tells those who wait for the daemon.
class Readiness {
 public:
  /// Forks. In the parent: waits until the child is ready or has failed, and gives the exit status.
  /// In the child: empty. Before threads are started.
  std::optional<int> go_to_background(Program& program);
  /// To the parent, and to the service manager at NOTIFY_SOCKET.
  void tell();
  void tell_stopping();

 private:
  OwnedDescriptor parent_;
};

/// Takes over the sockets that the service manager has opened (LISTEN_FDS): from here on only the
/// descriptor numbers that options name are left of them.
void adopt_sockets();

}  // namespace ashlar::tools
