// The connections of one node: one, or several to a server that allows it.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "ashlar/socket_address.h"
#include "async/connector.h"
#include "drivers/nbd/client.h"
#include "drivers/nbd/nbd_options.h"

namespace ashlar::nbd::client {

/// Opened and closed on one loop; perform() may be called from any. Each connection lives on the
/// loop that had more to do than the others could carry: its requests then stay on their loop.
class Pool {
 public:
  explicit Pool(Target target);

  Task<Result<void>> open();
  /// By a connection of this loop if there is one with room, else by the least busy one.
  Task<Result<void>> perform(Call& call);
  Task<void> close();
  /// With the server, since open(). Any loop.
  const Agreement& agreement() const noexcept { return agreement_; }
  /// Connections there are. Any loop.
  size_t connections() const noexcept { return lane_count_.load(); }

 private:
  /// A connection, and where it lives.
  struct Lane {
    Loop* loop = nullptr;
    std::unique_ptr<Client> client;
  };
  /// What another loop asks the own one for.
  struct Order : Posted {
    explicit Order(Pool& which) : pool(which) {}
    Pool& pool;
    Loop* loop = nullptr;
  };

  Client& pick(Loop*& loop) noexcept;
  void consider_another(Loop& loop) noexcept;
  size_t most_on_one_loop() const noexcept;
  void begin_order(Loop& loop);
  Task<void> open_another(Loop& loop);
  void append(Lane lane) noexcept;

  const Target target_;
  Agreement agreement_;
  Loop* home_ = nullptr;
  std::array<Lane, kMostConnections> lanes_;  // those below lane_count_ stay as they are
  std::atomic<size_t> lane_count_{0};
  std::atomic<size_t> wanted_{1};
  std::atomic<bool> ordered_{false};  // order_ is on its way, or opening_ is being opened
  Order order_{*this};
  Lane opening_;  // the next one
  bool closing_ = false;
  Scope scope_;
};

/// Dials a socket address.
std::unique_ptr<Dialer> dial_socket(SocketAddress address);

}  // namespace ashlar::nbd::client
