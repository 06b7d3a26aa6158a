// Spreading requests over connections that are made when there is enough to do.
#include "drivers/nbd/pool.h"

#include <span>
#include <utility>

#include "async/on_loop.h"

namespace ashlar::nbd::client {
namespace {

/// With fewer requests in flight on each connection another one would only cost.
constexpr size_t kBusy = 4;

class SocketDialer final : public Dialer {
 public:
  explicit SocketDialer(SocketAddress address) : address_(std::move(address)) {}
  Task<Result<std::unique_ptr<Stream>>> dial() override {
    connector_ = std::make_unique<Connector>();
    if (cancelled_) connector_->cancel();
    return connector_->connect(address_);
  }
  void end_attempt() noexcept override {
    if (connector_) connector_->cancel();
  }
  void cancel() noexcept override {
    cancelled_ = true;
    end_attempt();
  }
  bool repeatable() const noexcept override { return address_.kind != SocketAddress::Kind::kFd; }

 private:
  const SocketAddress address_;
  std::unique_ptr<Connector> connector_;  // of the last attempt
  bool cancelled_ = false;
};

/// On the loop of `client`.
Task<void> give_up(Client& client) {
  client.give_up();
  co_return;
}

}  // namespace

std::unique_ptr<Dialer> dial_socket(SocketAddress address) {
  return std::make_unique<SocketDialer>(std::move(address));
}

Pool::Pool(Target target) : target_(std::move(target)) {
  order_.run = [](Posted& work) noexcept {
    const auto& order = static_cast<const Order&>(work);
    order.pool.begin_order(*order.loop);
  };
}

void Pool::append(Lane lane) noexcept {
  const size_t count = lane_count_.load(std::memory_order_relaxed);
  lanes_[count] = std::move(lane);
  lane_count_.store(count + 1);
}

Task<Result<void>> Pool::open() {
  home_ = &Loop::current();
  Lane first;
  first.loop = home_;
  first.client = std::make_unique<Client>(dial_socket(target_.server), target_.settings);
  Result<void> opened = co_await first.client->open();
  if (!opened) co_return opened;
  agreement_ = first.client->agreement();
  append(std::move(first));
  const bool several = agreement().can(transmission_flag::kMultiConn) &&
                       target_.server.kind != SocketAddress::Kind::kFd;
  wanted_.store(several ? target_.connections : 1);
  co_return ok();
}

/// Half of the connections, where there are other loops that may want the rest.
size_t Pool::most_on_one_loop() const noexcept {
  const size_t wanted = wanted_.load(std::memory_order_relaxed);
  return home_->runtime().loop_count() == 1 ? wanted : (wanted + 1) / 2;
}

/// Orders another connection on the way when those of this loop have enough to do.
Client& Pool::pick(Loop*& loop) noexcept {
  Loop& here = Loop::current();
  const Lane* least = nullptr;
  const Lane* least_here = nullptr;
  size_t here_count = 0;
  const auto less_busy = [](const Lane& lane, const Lane* than) {
    return than == nullptr || lane.client->in_flight() < than->client->in_flight();
  };
  for (const Lane& lane : std::span(lanes_).first(lane_count_.load())) {
    if (less_busy(lane, least)) least = &lane;
    if (lane.loop != &here) continue;
    ++here_count;
    if (less_busy(lane, least_here)) least_here = &lane;
  }
  const Lane* chosen = least_here;
  if (chosen == nullptr || chosen->client->in_flight() >= kBusy) {
    if (here_count < most_on_one_loop()) consider_another(here);
    // To go to another loop and back costs more than to wait behind some others.
    if (chosen == nullptr || least->client->in_flight() + kBusy < chosen->client->in_flight()) {
      chosen = least;
    }
  }
  loop = chosen->loop;
  return *chosen->client;
}

Task<Result<void>> Pool::perform(Call& call) {
  Loop* loop = nullptr;
  Client& client = pick(loop);
  if (loop == &Loop::current()) co_return co_await client.perform(call);
  OnLoop<Result<void>> there(*loop, client.perform(call));
  co_return co_await there;
}

void Pool::consider_another(Loop& loop) noexcept {
  const size_t wanted = wanted_.load(std::memory_order_relaxed);
  if (lane_count_.load(std::memory_order_relaxed) >= wanted || ordered_.exchange(true)) return;
  order_.loop = &loop;
  home_->post(order_);
}

void Pool::begin_order(Loop& loop) {
  if (closing_ || lane_count_.load() >= wanted_.load()) {
    ordered_.store(false);
    return;
  }
  ClientSettings settings = target_.settings;
  settings.open_timeout_ns = 0;  // there is one connection already
  opening_.loop = &loop;
  opening_.client = std::make_unique<Client>(dial_socket(target_.server), std::move(settings));
  scope_.spawn(open_another(loop));
}

/// Requests go on meanwhile. A server that does not want another connection gets none.
Task<void> Pool::open_another(Loop& loop) {
  OnLoop<Result<void>> opening(loop, opening_.client->open());
  const Result<void> opened = co_await opening;
  Lane lane = std::exchange(opening_, Lane());
  const bool same = opened && lane.client->agreement() == agreement();
  if (same && !closing_) {
    append(std::move(lane));
  } else {
    wanted_.store(lane_count_.load());
    OnLoop<void> closed(loop, lane.client->close());
    co_await closed;
  }
  ordered_.store(false);
}

Task<void> Pool::close() {
  closing_ = true;
  // An order that another loop has posted is run before this ends.
  while (ordered_.load() && opening_.client == nullptr) co_await yield();
  if (opening_.client != nullptr) {
    OnLoop<void> given_up(*opening_.loop, give_up(*opening_.client));
    co_await given_up;
  }
  co_await scope_.join();
  for (const Lane& lane : std::span(lanes_).first(lane_count_.load())) {
    OnLoop<void> closed(*lane.loop, lane.client->close());
    co_await closed;
  }
}

}  // namespace ashlar::nbd::client
