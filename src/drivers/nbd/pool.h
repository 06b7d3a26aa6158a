// The connections of one node: one, or several to a server that allows it.
#pragma once

#include <memory>
#include <vector>

#include "ashlar/socket_address.h"
#include "async/connector.h"
#include "drivers/nbd/client.h"
#include "drivers/nbd/nbd_options.h"

namespace ashlar::nbd::client {

/// Belongs to the loop it was opened on; perform() may be called from any.
class Pool {
 public:
  explicit Pool(Target target);

  Task<Result<void>> open();
  /// Calls from other loops are carried over to the own one.
  Task<Result<void>> perform(Call& call);
  Task<void> close();
  /// With the server, since open(). Any loop.
  const Agreement& agreement() const noexcept { return agreement_; }

 private:
  Task<Result<void>> perform_here(Call& call);
  Client& least_busy() noexcept;
  void consider_another();
  Task<void> open_another();

  const Target target_;
  Agreement agreement_;
  Loop* home_ = nullptr;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<Client> opening_;  // the next one
  size_t wanted_ = 1;
  bool closing_ = false;
  Scope scope_;
};

/// Dials a socket address.
std::unique_ptr<Dialer> dial_socket(SocketAddress address);

}  // namespace ashlar::nbd::client
