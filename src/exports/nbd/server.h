// The NBD server: listens, and serves a list of exports to whoever connects.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/loop.h"
#include "ashlar/socket_address.h"
#include "ashlar/stream.h"
#include "ashlar/task.h"
#include "async/sync.h"
#include "exports/nbd/served_export.h"

namespace ashlar {

class TlsCredentials;  // src/async/tls.h

namespace nbd {
class Connection;
struct Place;
}  // namespace nbd

/// What a server tells its owner. Called on the control loop.
class NbdServerObserver {
 public:
  virtual ~NbdServerObserver() = default;
  /// A client that had got as far as using an export has left; `remaining`: connections there are.
  virtual void client_left(size_t /*remaining*/) {}
  /// A connection ended before the handshake was over.
  virtual void handshake_failed(const Error&) {}
};

/// How a server is to be.
struct NbdServerOptions {
  std::vector<SocketAddress> addresses;  ///< where to listen, at least one
  std::vector<Loop*> loops;              ///< clients are spread over these; empty: the control loop
  unsigned max_connections = 100;        ///< more wait to be accepted; 0: no limit
  unsigned handshake_seconds = 10;       ///< for each client; 0: no limit
  /// Clients must use TLS with these; null: they cannot. Of the server's endpoint.
  std::shared_ptr<const TlsCredentials> tls;
  /// Asked on the control loop who may come in, by the name that the TLS handshake has proved,
  /// which may be none. Where this is empty, whoever gets through the handshake may.
  std::function<bool(std::string_view name)> permits;
  NbdServerObserver* observer = nullptr;  ///< outlives the server
};

/// Control loop. Connections are served on the loops of the options, each on one of them.
class NbdServer {
 public:
  /// listen() and accept().
  static Task<Result<std::unique_ptr<NbdServer>>> start(NbdServerOptions options);
  /// Clients can connect, but wait until accept(): for who has exports to add first.
  /// Errors: those of Listener::open().
  static Task<Result<std::unique_ptr<NbdServer>>> listen(NbdServerOptions options);
  void accept();
  ~NbdServer();
  NbdServer(const NbdServer&) = delete;

  /// Where it listens, with the ports that the system chose.
  std::vector<SocketAddress> addresses() const;
  size_t connections() const noexcept { return connections_.size(); }

  /// Shows an export to clients from now on. It stays until remove().
  /// Errors: kExists (reason "nbd-export-exists").
  Result<void> add(nbd::ServedExport& served) { return exports_.add(served); }
  /// Hides an export, ends the connections of its clients and waits for them.
  Task<void> remove(nbd::ServedExport& served);
  /// Clients that use `served`.
  size_t clients_of(const nbd::ServedExport& served) const noexcept;
  const nbd::ExportList& exports() const noexcept { return exports_; }

  /// Serves a connection that was made elsewhere, within the limits.
  void serve(std::unique_ptr<Stream> stream);

  /// Accepts no more, ends all connections and waits for them. Exports that are still there stay
  /// without clients until they are removed. Once, before destruction.
  Task<void> close();

 private:
  explicit NbdServer(NbdServerOptions options);
  Task<Result<void>> open_listeners();
  Task<void> accept_from(Listener& listener);
  Task<void> serve_one(std::unique_ptr<Stream> stream);
  nbd::Place& least_used_place() noexcept;

  const NbdServerOptions options_;
  nbd::ExportList exports_;
  std::vector<std::unique_ptr<nbd::Place>> places_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<nbd::Connection*> connections_;
  Semaphore free_connections_;
  Scope accepting_;
  Scope serving_;
  WaitList leaving_;  // those who wait for connections to end
  bool closing_ = false;
};

}  // namespace ashlar
