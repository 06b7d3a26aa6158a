// A connection to an NBD server that is made again when it is lost.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "ashlar/error.h"
#include "ashlar/stream.h"
#include "async/sync.h"
#include "drivers/nbd/channel.h"
#include "drivers/nbd/handshake.h"
#include "drivers/nbd/pause.h"

namespace ashlar::nbd::client {

/// How connections come about.
class Dialer {
 public:
  virtual ~Dialer() = default;
  virtual Task<Result<std::unique_ptr<Stream>>> dial() = 0;
  /// Ends dial() in flight; it may be called again.
  virtual void end_attempt() noexcept = 0;
  /// Ends dial() in flight and later ones.
  virtual void cancel() noexcept = 0;
  /// Whether dial() can work a second time.
  virtual bool repeatable() const noexcept = 0;
};

struct ClientSettings {
  Wishes wishes;
  uint64_t reconnect_delay_ns = 0;  ///< how long requests wait for a lost connection
  uint64_t open_timeout_ns = 0;     ///< how long open() tries again
  uint64_t attempt_ns = 0;          ///< how long one attempt to connect may take; 0: for ever
};

/// Belongs to one loop, on which everything happens.
class Client {
 public:
  Client(std::unique_ptr<Dialer> dialer, ClientSettings settings)
      : dialer_(std::move(dialer)), settings_(std::move(settings)) {}

  /// Errors: of the handshake and below.
  Task<Result<void>> open();
  /// Errors: the server's; kIo (reason "nbd-lost") when the connection was lost and did not come
  /// back in time. Calls are repeated on a new connection.
  Task<Result<void>> perform(Call& call);
  /// Ends open() in flight, and all waiting for connections.
  void give_up() noexcept;
  /// No calls may be in flight.
  Task<void> close();

  /// Stays as it is for as long as this is open. After open().
  const Agreement& agreement() const noexcept { return agreement_; }
  /// From any loop.
  size_t in_flight() const noexcept { return in_flight_.load(std::memory_order_relaxed); }

 private:
  class ReadyAwaiter;
  Task<Result<std::shared_ptr<Channel>>> connect(uint64_t limit_ns);
  Task<Result<std::shared_ptr<Channel>>> attempt();
  uint64_t attempt_limit_ns(uint64_t start_ns) const noexcept;
  Task<void> limit_attempt(Pause& limit, uint64_t limit_ns);
  Task<Result<std::shared_ptr<Channel>>> ready();
  Task<Result<void>> perform_counted(Call& call);
  Task<void> reconnect();
  Task<void> expire(std::shared_ptr<Pause> patience);
  void end_patience() noexcept;
  void channel_lost();
  void adopt(std::shared_ptr<Channel> channel);
  void wake_waiting() noexcept;
  Error lost_error() const;

  const std::unique_ptr<Dialer> dialer_;
  const ClientSettings settings_;
  Agreement agreement_;
  std::shared_ptr<Channel> channel_;   // none while it is made again
  Stream* attempt_ = nullptr;          // the one that is shaking hands
  std::optional<Error> failed_;        // for good
  std::optional<Error> last_failure_;  // of a connection
  bool expired_ = false;               // requests wait no more
  bool closing_ = false;
  std::unique_ptr<Pause> backoff_;
  std::shared_ptr<Pause> patience_;
  WaitList waiting_;
  std::atomic<size_t> in_flight_{0};
  bool too_slow_ = false;  // the attempt to connect was ended
  Scope scope_;
};

}  // namespace ashlar::nbd::client
