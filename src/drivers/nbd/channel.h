// One connection to an NBD server in use: many requests in flight, replies in any order.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/stream.h"
#include "async/sync.h"
#include "drivers/nbd/handshake.h"
#include "drivers/nbd/pause.h"
#include "drivers/nbd/received_ranges.h"
#include "protocols/nbd_transmission.h"

namespace ashlar::nbd::client {

/// Most requests that wait for replies on one connection.
inline constexpr size_t kMaxInFlight = 64;

/// A request, with where its answer goes. Lives in the frame of whoever waits for it.
struct Call {
  Call() {}  // NOLINT(modernize-use-equals-default): no aggregate, see ByteRange
  Request request;
  ConstBuffers payload;  ///< of kWrite
  MutableBuffers into;   ///< of kRead
  Descriptor status;     ///< answer to kBlockStatus

 private:
  friend class Channel;
  friend class Reception;
  ReceivedRanges received_;
  std::optional<Error> error_;  // the server's
  bool sent_ = false;
  bool replied_ = false;
  bool has_status_ = false;
  Waiter* waiter_ = nullptr;
  Call* next_ = nullptr;  // to be sent
};

/// Belongs to one loop, on which everything happens. A connection that the server breaks, or on
/// which it breaks the protocol, fails as a whole: with an error of the reason "nbd-lost", after
/// which nothing is known of what its requests have done.
class Channel {
 public:
  explicit Channel(Established established);
  ~Channel();
  Channel(const Channel&) = delete;

  /// Starts to receive. `on_lost` runs once when the connection fails, not when it is closed.
  void start(std::function<void()> on_lost);
  /// Sends `call` and waits for its answer.
  Task<Result<void>> perform(Call& call);
  /// Says goodbye, if that is possible at once, and ends. No calls may be in flight.
  Task<void> close();

  const Agreement& agreement() const noexcept { return agreement_; }
  bool lost() const noexcept { return lost_.has_value(); }
  size_t in_flight() const noexcept { return in_flight_; }

 private:
  class CallAwaiter;
  struct Slot {
    Call* call = nullptr;
    uint64_t uses = 0;  // so that late replies to earlier calls are not taken for this one's
  };

  Task<void> send_queued();
  Task<Result<void>> send_batch(Call* batch);
  Task<void> receive();
  Call* find(uint64_t cookie) const noexcept;
  void finish(Call& call) noexcept;
  void wake_if_done(Call& call) noexcept;
  void lose(const Error& why);
  Task<void> say_goodbye(Pause& limit);

  friend class Reception;

  const std::unique_ptr<Stream> stream_;
  const Agreement agreement_;
  std::function<void()> on_lost_;
  std::array<Slot, kMaxInFlight> slots_;
  Semaphore free_slots_{kMaxInFlight};
  size_t in_flight_ = 0;
  Call* queue_head_ = nullptr;
  Call* queue_tail_ = nullptr;
  bool sending_ = false;
  std::array<std::array<std::byte, kMaxRequestSize>, kMaxInFlight> headers_;  // being sent
  std::vector<std::span<const std::byte>> segments_;
  bool closing_ = false;
  std::optional<Error> lost_;
  Scope scope_;
};

}  // namespace ashlar::nbd::client
