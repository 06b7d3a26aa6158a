// A connection in the making that can be given up.
#pragma once

#include <memory>

#include "ashlar/stream.h"
#include "async/io_operation.h"
#include "async/owned_descriptor.h"
#include "async/socket_name.h"

namespace ashlar {

/// Makes one connection at a time. Stays where it is while connect() runs. One loop.
class Connector {
 public:
  Connector() = default;
  Connector(const Connector&) = delete;

  /// connect_stream(); kCancelled after cancel().
  Task<Result<std::unique_ptr<Stream>>> connect(SocketAddress address);
  /// Ends connect() in flight, and all later ones. A lookup of a name is waited for.
  void cancel() noexcept;

 private:
  Task<Result<OwnedDescriptor>> connect_to(const SocketName& name, const SocketAddress& address);
  Task<int> finish(int fd, int os_error, const SocketName& name);
  Task<int64_t> await_cancellable(IoOperation& operation);

  IoOperation* waiting_ = nullptr;
  bool cancelled_ = false;
};

}  // namespace ashlar
