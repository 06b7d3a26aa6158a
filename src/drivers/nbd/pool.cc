// Spreading requests over connections that are made when there is enough to do.
#include "drivers/nbd/pool.h"

#include <algorithm>

#include "async/on_loop.h"

namespace ashlar::nbd::client {
namespace {

/// With fewer requests in flight on each connection another one would only cost.
constexpr size_t kBusy = 4;

class SocketDialer final : public Dialer {
 public:
  explicit SocketDialer(SocketAddress address) : address_(std::move(address)) {}
  Task<Result<std::unique_ptr<Stream>>> dial() override { return connector_.connect(address_); }
  void cancel() noexcept override { connector_.cancel(); }
  bool repeatable() const noexcept override { return address_.kind != SocketAddress::Kind::kFd; }

 private:
  const SocketAddress address_;
  Connector connector_;
};

}  // namespace

std::unique_ptr<Dialer> dial_socket(SocketAddress address) {
  return std::make_unique<SocketDialer>(std::move(address));
}

Pool::Pool(Target target) : target_(std::move(target)) {
  clients_.push_back(std::make_unique<Client>(dial_socket(target_.server), target_.settings));
}

Task<Result<void>> Pool::open() {
  home_ = &Loop::current();
  Result<void> opened = co_await clients_.front()->open();
  if (!opened) co_return opened;
  agreement_ = clients_.front()->agreement();
  const bool several = agreement().can(transmission_flag::kMultiConn) &&
                       target_.server.kind != SocketAddress::Kind::kFd;
  wanted_ = several ? target_.connections : 1;
  clients_.reserve(wanted_);
  co_return ok();
}

Task<Result<void>> Pool::perform(Call& call) {
  if (Loop::current_or_null() == home_) co_return co_await perform_here(call);
  OnLoop<Result<void>> there(*home_, perform_here(call));
  co_return co_await there;
}

Task<Result<void>> Pool::perform_here(Call& call) {
  Client& client = least_busy();
  if (client.in_flight() >= kBusy) consider_another();
  co_return co_await client.perform(call);
}

Client& Pool::least_busy() noexcept {
  const auto least = std::ranges::min_element(
      clients_, {}, [](const std::unique_ptr<Client>& client) { return client->in_flight(); });
  return **least;
}

void Pool::consider_another() {
  if (clients_.size() >= wanted_ || opening_ || closing_) return;
  ClientSettings settings = target_.settings;
  settings.open_timeout_ns = 0;  // there is one connection already
  opening_ = std::make_unique<Client>(dial_socket(target_.server), std::move(settings));
  scope_.spawn(open_another());
}

/// Requests go on meanwhile. A server that does not want another connection gets none.
Task<void> Pool::open_another() {
  Result<void> opened = co_await opening_->open();
  std::unique_ptr<Client> client = std::move(opening_);
  const bool same = opened && client->agreement() == agreement();
  if (same && !closing_) {
    clients_.push_back(std::move(client));
    co_return;
  }
  wanted_ = clients_.size();
  co_await client->close();
}

Task<void> Pool::close() {
  closing_ = true;
  if (opening_) opening_->give_up();
  co_await scope_.join();
  for (const std::unique_ptr<Client>& client : clients_) co_await client->close();
}

}  // namespace ashlar::nbd::client
