// The phases of a connection, and how another loop is told to stop.
#include "exports/nbd/connection.h"

#include <utility>

#include "async/on_loop.h"

namespace ashlar::nbd {
namespace {

Task<void> nothing() { co_return; }

}  // namespace

Connection::Connection(std::unique_ptr<Stream> stream, const Setup& setup)
    : setup_(setup), negotiation_(std::move(stream), setup.terms, setup.admission) {
  stop_order_.connection = this;
  stop_order_.run = [](Posted& work) noexcept {
    static_cast<StopOrder&>(work).connection->transmission_->stop();
  };
}

Task<Result<Negotiation::Outcome>> Connection::negotiate() {
  if (setup_.handshake_ns != 0) {
    handshake_limit_.start(setup_.handshake_ns, [this] { negotiation_.shut_down(); });
  }
  Result<Negotiation::Outcome> outcome = co_await negotiation_.run();
  co_await handshake_limit_.call_off();
  if (!outcome && handshake_limit_.passed()) {
    co_return fail(
        Error(ErrorCode::kCancelled, "the handshake took too long").because("nbd-handshake-time"));
  }
  co_return outcome;
}

Task<void> Connection::transmit() {
  Loop& loop = setup_.place->loop;
  transmission_.emplace(negotiation_.stream(), negotiation_.session(), setup_.place->buffers);
  phase_ = Phase::kTransmission;
  co_await OnLoop<void>(loop, transmission_->run());
  // An order that came too late to be noticed may still be on its way.
  if (stopping_) co_await OnLoop<void>(loop, nothing());
}

Task<Result<void>> Connection::serve() {
  const Result<Negotiation::Outcome> outcome = co_await negotiate();
  if (outcome && *outcome == Negotiation::Outcome::kTransmission && !stopping_) {
    co_await transmit();
  }
  phase_ = Phase::kEnded;
  if (!outcome) co_return fail(outcome.error());
  co_return ok();
}

void Connection::stop() noexcept {
  if (std::exchange(stopping_, true)) return;
  if (phase_ == Phase::kHandshake) {
    negotiation_.shut_down();
  } else if (phase_ == Phase::kTransmission) {
    setup_.place->loop.post(stop_order_);
  }
}

}  // namespace ashlar::nbd
