// Connecting, and connecting again.
#include "drivers/nbd/client.h"

#include <fmt/format.h>

#include <algorithm>

namespace ashlar::nbd::client {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kFirstBackoffNs = 100'000'000;
constexpr uint64_t kLongestBackoffNs = 8'000'000'000;

/// A server that comes back must be the same to those who use it.
Result<void> check_same(const Agreement& before, const Agreement& now) {
  if (before.summary.size != now.summary.size) {
    return fail(Error(ErrorCode::kIo, fmt::format("export has {} bytes after reconnecting, before "
                                                  "it had {}",
                                                  now.summary.size, before.summary.size))
                    .because("nbd-changed"));
  }
  const uint16_t all = before.summary.flags;
  const bool less =
      (now.summary.flags & all) != all ||
      (now.can(transmission_flag::kReadOnly) && !before.can(transmission_flag::kReadOnly)) ||
      (before.context && !now.context);
  const BlockSizes old_sizes = before.sizes.value_or(BlockSizes());
  const BlockSizes new_sizes = now.sizes.value_or(BlockSizes());
  if (less || new_sizes.minimum > old_sizes.minimum ||
      new_sizes.maximum_payload < old_sizes.maximum_payload) {
    return fail(
        Error(ErrorCode::kIo, "export can do less after reconnecting").because("nbd-changed"));
  }
  return ok();
}

}  // namespace

/// Waits until reconnecting has come to something.
class Client::ReadyAwaiter : Waiter {
 public:
  explicit ReadyAwaiter(Client& client) : client_(client) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept {
    prepare(self);
    client_.waiting_.push(*this);
  }
  void await_resume() const noexcept {}

 private:
  Client& client_;
};

void Client::wake_waiting() noexcept { Waiter::wake_all(waiting_.take_all()); }

Task<void> Client::limit_attempt(Pause& limit, uint64_t limit_ns) {
  co_await limit.wait(limit_ns);
  if (limit.cancelled()) co_return;
  too_slow_ = true;
  dialer_->end_attempt();
  if (attempt_ != nullptr) attempt_->shut_down();
}

/// A server that accepts and then says nothing must not hold anybody for ever.
Task<Result<std::shared_ptr<Channel>>> Client::connect(uint64_t limit_ns) {
  if (limit_ns == 0) co_return co_await attempt();
  Pause limit;
  Scope watch;
  too_slow_ = false;
  watch.spawn(limit_attempt(limit, limit_ns));
  Result<std::shared_ptr<Channel>> channel = co_await attempt();
  limit.cancel();
  co_await watch.join();
  if (channel || !too_slow_) co_return std::move(channel);
  const double seconds = static_cast<double>(limit_ns) / kSecond;
  co_return fail(
      Error(ErrorCode::kIo,
            fmt::format("NBD server did not finish the handshake within {:.3g} s", seconds))
          .because("nbd-handshake-slow", {fmt::format("{:.3g}", seconds)}));
}

Task<Result<std::shared_ptr<Channel>>> Client::attempt() {
  Result<std::unique_ptr<Stream>> stream = co_await dialer_->dial();
  if (!stream) co_return fail(stream.error());
  if (closing_) co_return fail(ErrorCode::kCancelled, "connection to an NBD server is given up");
  attempt_ = stream->get();
  Result<Established> established = co_await shake_hands(std::move(*stream), settings_.wishes);
  attempt_ = nullptr;
  if (!established) co_return fail(established.error());
  co_return std::make_shared<Channel>(std::move(*established));
}

/// An attempt of open(), which began at `start_ns`, ends with the time there is for all of them.
uint64_t Client::attempt_limit_ns(uint64_t start_ns) const noexcept {
  if (settings_.open_timeout_ns == 0) return settings_.attempt_ns;
  const uint64_t passed_ns = Loop::current().now_ns() - start_ns;
  const uint64_t left_ns = std::max(settings_.open_timeout_ns, passed_ns + 1) - passed_ns;
  return settings_.attempt_ns == 0 ? left_ns : std::min(left_ns, settings_.attempt_ns);
}

Task<Result<void>> Client::open() {
  const uint64_t start_ns = Loop::current().now_ns();
  uint64_t backoff_ns = kFirstBackoffNs;
  for (;;) {
    Result<std::shared_ptr<Channel>> channel = co_await connect(attempt_limit_ns(start_ns));
    if (channel) {
      agreement_ = (*channel)->agreement();
      adopt(std::move(*channel));
      co_return ok();
    }
    const uint64_t passed_ns = Loop::current().now_ns() - start_ns;
    if (closing_ || passed_ns >= settings_.open_timeout_ns || !dialer_->repeatable()) {
      co_return fail(channel.error());
    }
    co_await sleep_for(std::min(backoff_ns, settings_.open_timeout_ns - passed_ns));
    backoff_ns = std::min(backoff_ns * 2, kLongestBackoffNs);
  }
}

void Client::adopt(std::shared_ptr<Channel> channel) {
  channel_ = std::move(channel);
  expired_ = false;
  channel_->start([this] { channel_lost(); });
}

void Client::channel_lost() {
  if (closing_ || failed_) return;
  last_failure_ = Error(ErrorCode::kIo, "connection to the NBD server was lost");
  expired_ = settings_.reconnect_delay_ns == 0;
  if (!expired_) {
    patience_ = std::make_shared<Pause>();
    scope_.spawn(expire(patience_));
  }
  backoff_ = std::make_unique<Pause>();
  scope_.spawn(reconnect());
}

Task<void> Client::expire(std::shared_ptr<Pause> patience) {
  co_await patience->wait(settings_.reconnect_delay_ns);
  if (patience->cancelled()) co_return;
  expired_ = true;
  wake_waiting();
}

Task<void> Client::reconnect() {
  const std::shared_ptr<Channel> old = std::exchange(channel_, nullptr);
  co_await old->close();
  if (!dialer_->repeatable()) failed_ = lost_error();
  uint64_t backoff_ns = kFirstBackoffNs;
  while (!closing_ && !failed_) {
    Result<std::shared_ptr<Channel>> channel = co_await connect(settings_.attempt_ns);
    if (channel) {
      Result<void> same = check_same(agreement_, (*channel)->agreement());
      if (!same) failed_ = same.error();
      if (closing_ || failed_) {
        co_await (*channel)->close();
        break;
      }
      // Before the new one is used: it may be lost again at once.
      end_patience();
      adopt(std::move(*channel));
      co_return;
    }
    last_failure_ = channel.error();
    co_await backoff_->wait(backoff_ns);
    backoff_ns = std::min(backoff_ns * 2, kLongestBackoffNs);
  }
  end_patience();
}

/// Whoever waits looks again.
void Client::end_patience() noexcept {
  if (patience_) patience_->cancel();
  wake_waiting();
}

Error Client::lost_error() const {
  const std::string why = last_failure_ ? last_failure_->message() : "it was closed";
  return Error(ErrorCode::kIo, fmt::format("no connection to the NBD server: {}", why))
      .because("nbd-lost", {why});
}

Task<Result<std::shared_ptr<Channel>>> Client::ready() {
  for (;;) {
    if (failed_) co_return fail(*failed_);
    if (channel_ && !channel_->lost()) co_return channel_;
    // Before the loss is noticed, too, who may not wait does not.
    if (closing_ || expired_ || settings_.reconnect_delay_ns == 0) co_return fail(lost_error());
    ReadyAwaiter news(*this);
    co_await news;
  }
}

Task<Result<void>> Client::perform(Call& call) {
  ++in_flight_;
  Result<void> done = co_await perform_counted(call);
  --in_flight_;
  co_return done;
}

Task<Result<void>> Client::perform_counted(Call& call) {
  for (;;) {
    Result<std::shared_ptr<Channel>> channel = co_await ready();
    if (!channel) co_return fail(channel.error());
    Result<void> done = co_await (*channel)->perform(call);
    const bool lost = !done && done.error().reason() == "nbd-lost";
    if (!lost || closing_) co_return done;
    if (settings_.reconnect_delay_ns == 0) {
      co_return fail(Error(ErrorCode::kIo, done.error().message())
                         .because("nbd-lost", {done.error().message()}));
    }
  }
}

void Client::give_up() noexcept {
  closing_ = true;
  dialer_->cancel();
  if (attempt_ != nullptr) attempt_->shut_down();
  if (backoff_) backoff_->cancel();
  if (patience_) patience_->cancel();
}

Task<void> Client::close() {
  give_up();
  if (channel_) co_await channel_->close();
  co_await scope_.join();
}

}  // namespace ashlar::nbd::client
