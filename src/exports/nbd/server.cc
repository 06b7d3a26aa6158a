// Accepting clients within the limits, spreading them over loops, and ending them.
#include "exports/nbd/server.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "exports/nbd/connection.h"

namespace ashlar {

using nbd::Connection;
using nbd::Place;
using nbd::ServedExport;

namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
/// Between tries to accept when the system has run out of something.
constexpr uint64_t kAcceptPauseNs = 50'000'000;
/// More connections than any system has.
constexpr uint64_t kUnlimited = uint64_t{1} << 32;

uint64_t permits_of(const NbdServerOptions& options) {
  return options.max_connections == 0 ? kUnlimited : options.max_connections;
}

/// Waits for the end of a connection.
class LeaveAwaiter : Waiter {
 public:
  explicit LeaveAwaiter(WaitList& list) : list_(list) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept {
    prepare(self);
    list_.push(*this);
  }
  void await_resume() const noexcept {}

 private:
  WaitList& list_;
};

}  // namespace

NbdServer::NbdServer(NbdServerOptions options)
    : options_(std::move(options)), free_connections_(permits_of(options_)) {
  for (Loop* loop : options_.loops) places_.push_back(std::make_unique<Place>(*loop));
  if (places_.empty()) places_.push_back(std::make_unique<Place>(Loop::current()));
}

NbdServer::~NbdServer() = default;

Task<Result<std::unique_ptr<NbdServer>>> NbdServer::listen(NbdServerOptions options) {
  std::unique_ptr<NbdServer> server(new NbdServer(std::move(options)));
  const Result<void> listening = co_await server->open_listeners();
  if (!listening) co_return fail(listening.error());
  co_return std::move(server);
}

Task<Result<std::unique_ptr<NbdServer>>> NbdServer::start(NbdServerOptions options) {
  Result<std::unique_ptr<NbdServer>> server = co_await listen(std::move(options));
  if (server) (*server)->accept();
  co_return std::move(server);
}

Task<Result<void>> NbdServer::open_listeners() {
  for (const SocketAddress& address : options_.addresses) {
    Result<std::unique_ptr<Listener>> listener = co_await Listener::open(address);
    if (!listener) co_return fail(listener.error());
    listeners_.push_back(std::move(*listener));
  }
  co_return ok();
}

void NbdServer::accept() {
  for (const std::unique_ptr<Listener>& listener : listeners_) {
    accepting_.spawn(accept_from(*listener));
  }
}

std::vector<SocketAddress> NbdServer::addresses() const {
  std::vector<SocketAddress> all;
  all.reserve(listeners_.size());
  for (const std::unique_ptr<Listener>& listener : listeners_) all.push_back(listener->address());
  return all;
}

Task<void> NbdServer::accept_from(Listener& listener) {
  while (!closing_) {
    Result<std::unique_ptr<Stream>> stream = co_await listener.accept();
    if (!stream) {
      if (stream.error().code() == ErrorCode::kClosed) break;
      co_await sleep_for(kAcceptPauseNs);
      continue;
    }
    // The rest wait in the system's queue meanwhile.
    co_await free_connections_.acquire();
    if (closing_) break;
    serving_.spawn(serve_one(std::move(*stream)));
  }
}

void NbdServer::serve(std::unique_ptr<Stream> stream) {
  if (closing_ || !free_connections_.try_acquire()) return;
  serving_.spawn(serve_one(std::move(stream)));
}

Place& NbdServer::least_used_place() noexcept {
  return **std::ranges::min_element(
      places_, {}, [](const std::unique_ptr<Place>& place) { return place->clients; });
}

Task<void> NbdServer::serve_one(std::unique_ptr<Stream> stream) {
  Connection::Setup setup;
  setup.terms.exports = &exports_;
  setup.terms.connections = options_.max_connections == 1 ? nbd::Terms::Connections::kOne
                                                          : nbd::Terms::Connections::kSeveral;
  setup.terms.tls = options_.tls ? nbd::Terms::Tls::kRequired : nbd::Terms::Tls::kNone;
  setup.admission = {options_.tls, options_.permits};
  setup.handshake_ns = options_.handshake_seconds * kNsPerSecond;
  setup.place = &least_used_place();
  ++setup.place->clients;

  Connection connection(std::move(stream), setup);
  connections_.push_back(&connection);
  const Result<void> served = co_await connection.serve();
  std::erase(connections_, &connection);
  --setup.place->clients;
  free_connections_.release();
  Waiter::wake_all(leaving_.take_all());
  if (options_.observer == nullptr || closing_) co_return;
  if (!served) options_.observer->handshake_failed(served.error());
  if (connection.served() != nullptr) options_.observer->client_left(connections_.size());
}

size_t NbdServer::clients_of(const ServedExport& served) const noexcept {
  return static_cast<size_t>(std::ranges::count(connections_, &served, &Connection::served));
}

Task<void> NbdServer::remove(ServedExport& served) {
  exports_.remove(served);
  for (Connection* connection : connections_) {
    if (connection->served() == &served) connection->stop();
  }
  while (clients_of(served) != 0) {
    LeaveAwaiter left(leaving_);
    co_await left;
  }
}

Task<void> NbdServer::close() {
  closing_ = true;
  for (const std::unique_ptr<Listener>& listener : listeners_) listener->close();
  for (Connection* connection : connections_) connection->stop();
  // Who was accepted and waits for a place is let in to be sent away.
  free_connections_.release(listeners_.size());
  co_await accepting_.join();
  co_await serving_.join();
  listeners_.clear();
}

}  // namespace ashlar
