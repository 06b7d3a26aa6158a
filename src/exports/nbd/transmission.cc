// Receiving requests within the limits, and the end of a connection.
#include "exports/nbd/transmission.h"

#include <algorithm>
#include <utility>

namespace ashlar::nbd {

Transmission::Transmission(Stream& stream, Session session, BufferPool& buffers)
    : stream_(stream),
      session_(std::move(session)),
      buffers_(buffers),
      receiver_(stream),
      replies_(stream) {}

/// Waits until the limits let another request in. Only the receiving coroutine does.
class Transmission::RoomAwaiter : private Posted {
 public:
  RoomAwaiter(Transmission& self, uint64_t cost) : self_(self), cost_(cost) {
    run = [](Posted& work) noexcept { static_cast<RoomAwaiter&>(work).handle_.resume(); };
  }
  uint64_t cost() const noexcept { return cost_; }
  bool await_ready() const noexcept { return self_.has_room(cost_); }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    handle_ = handle;
    self_.waiting_ = this;
  }
  void await_resume() const noexcept {}
  /// Posted: the request that makes room has not returned yet.
  void wake() noexcept { Loop::current().post(*this); }

 private:
  Transmission& self_;
  const uint64_t cost_;
  std::coroutine_handle<> handle_;
};

/// Waits until no request is under way.
class Transmission::IdleAwaiter {
 public:
  explicit IdleAwaiter(Transmission& self) : self_(self) {}
  bool await_ready() const noexcept { return self_.requests_ == 0; }
  void await_suspend(std::coroutine_handle<> handle) noexcept { self_.when_idle_ = handle; }
  void await_resume() const noexcept {}

 private:
  Transmission& self_;
};

Task<void> Transmission::run() {
  Scope sending;
  sending.spawn(replies_.deliver());
  co_await receive_requests();
  IdleAwaiter idle(*this);
  co_await idle;
  replies_.finish();
  co_await sending.join();
  co_await farewell_.call_off();
}

void Transmission::stop() noexcept {
  if (std::exchange(stopping_, true)) return;
  if (requests_ == 0) {
    stream_.shut_down();
  } else {
    // A client that does not read its replies holds nobody up for long.
    farewell_.start(kFarewellNs, [this] { stream_.shut_down(); });
  }
}

bool Transmission::has_room(uint64_t cost) const noexcept {
  if (requests_ == 0) return true;
  return requests_ < kMaxRequests && bytes_ + cost <= kMaxRequestBytes;
}

void Transmission::begin(const Request& request) noexcept {
  ++requests_;
  bytes_ += cost_of(request);
}

void Transmission::end(const Request& request) noexcept {
  --requests_;
  bytes_ -= cost_of(request);
  if (waiting_ != nullptr && has_room(waiting_->cost())) std::exchange(waiting_, nullptr)->wake();
  if (requests_ != 0) return;
  if (stopping_) stream_.shut_down();
  if (when_idle_) std::exchange(when_idle_, {}).resume();
}

/// Most memory that a request uses at a time.
uint64_t Transmission::cost_of(const Request& request) const noexcept {
  switch (request.command) {
    case Command::kRead:
      if (may_fragment(request)) return std::min(request.length, kReadPiece);
      return std::min(request.length, kMaxPayload);
    case Command::kWrite:
      return std::min(request.length, kMaxPayload);
    case Command::kCache:
      return kReadPiece;
    case Command::kBlockStatus:
      return kMaxExtents * sizeof(Descriptor) * 2;
    default:
      return 0;
  }
}

uint64_t Transmission::payload_of(const Request& request) const noexcept {
  const bool announced =
      session_.headers == Headers::kExtended && (request.flags & command_flag::kPayloadLength) != 0;
  return request.command == Command::kWrite || announced ? request.length : 0;
}

/// The flags that `command` may have.
uint16_t Transmission::flags_of(Command command) const noexcept {
  using namespace command_flag;
  const bool extended = session_.headers == Headers::kExtended;
  switch (command) {
    case Command::kRead:
      return session_.structured() ? kFua | kDontFragment : kFua;
    case Command::kWrite:
      return extended ? kFua | kPayloadLength : kFua;
    case Command::kWriteZeroes:
      return kFua | kNoHole | kFastZero;
    case Command::kBlockStatus:
      return extended ? kFua | kOneExtent | kPayloadLength : kFua | kOneExtent;
    default:
      return kFua;
  }
}

std::optional<Transmission::Refusal> Transmission::refusal_of(
    const Request& request) const noexcept {
  const auto invalid = [](std::string_view message) {
    return Refusal(WireError::kInvalid, message);
  };
  switch (request.command) {
    case Command::kRead:
    case Command::kCache:
      if (request.length > kMaxPayload) return invalid("length is above the maximum payload");
      break;
    case Command::kWrite:
      if (request.length > kMaxPayload) return invalid("length is above the maximum payload");
      [[fallthrough]];
    case Command::kTrim:
    case Command::kWriteZeroes:
      if (session_.served->access == ServedExport::Access::kReadOnly) {
        // The number that clients of the peer's server know; they see kReadOnly before they ask.
        return invalid("export is read-only");
      }
      break;
    case Command::kBlockStatus:
      if (session_.contexts.empty()) return invalid("no metadata context was negotiated");
      if (request.length == 0) return invalid("length is zero");
      if (payload_of(request) > kMaxFilter) return invalid("payload is too long");
      break;
    case Command::kFlush:
      break;
    default:
      return invalid("command is not supported");
  }
  if ((request.flags & ~flags_of(request.command)) != 0) {
    return invalid("flags are not supported for this command");
  }
  return std::nullopt;
}

Transmission::Taken Transmission::take_request(Request& request) {
  const size_t size = request_size(session_.headers);
  if (receiver_.available().size() < size) return Taken::kNothing;
  // What has no magic number where one belongs is out of step: nothing after it makes sense.
  const Result<Request> decoded =
      decode_request(receiver_.available().first(size), session_.headers);
  if (!decoded || decoded->command == Command::kDisconnect) return Taken::kEnd;
  request = *decoded;
  receiver_.consume(size);
  return Taken::kRequest;
}

Task<void> Transmission::receive_requests() {
  Request request;
  HoldOff hold_off;
  uint64_t received = 0;
  while (!stopping_) {
    const Taken taken = take_request(request);
    if (taken == Taken::kEnd) break;
    if (taken == Taken::kNothing) {
      const uint64_t now_ns = Loop::current().now_ns();
      if (hold_off.pause_after(std::exchange(received, 0), now_ns)) {
        co_await sleep_for(HoldOff::kPauseNs);
      }
      const bool more = co_await receiver_.fill();
      if (!more) break;
      continue;
    }
    ++received;
    RoomAwaiter room(*this, cost_of(request));
    co_await room;
    if (payload_of(request) == 0) {
      start(request, {});
      continue;
    }
    const bool goes_on = co_await serve_with_payload(request);
    if (!goes_on) break;
  }
}

Task<bool> Transmission::serve_with_payload(Request request) {
  const uint64_t length = payload_of(request);
  const std::optional<Refusal> refusal = refusal_of(request);
  if (length > kMaxPayload) {
    // So much is not even read: the client is told, and the connection ends.
    refuse(request, *refusal);
    co_return false;
  }
  if (refusal) {
    const bool skipped = co_await skip_payload(length);
    if (skipped) refuse(request, *refusal);
    co_return skipped;
  }
  Buffer data = buffers_.take(length);
  const size_t there = receiver_.take(data.bytes());
  if (there < length) {
    const bool received = co_await receiver_.receive_rest(data.bytes().subspan(there));
    if (!received) co_return false;
  }
  start(request, std::move(data));
  co_return true;
}

Task<bool> Transmission::skip_payload(uint64_t length) {
  while (true) {
    const uint64_t part = std::min<uint64_t>(length, receiver_.available().size());
    receiver_.consume(part);
    length -= part;
    if (length == 0) co_return true;
    const bool more = co_await receiver_.fill();
    if (!more) co_return false;
  }
}

void Transmission::start(const Request& request, Buffer data) {
  if (const std::optional<Refusal> refusal = refusal_of(request)) {
    refuse(request, *refusal);
    return;
  }
  switch (request.command) {
    case Command::kRead:
      if (may_fragment(request) && request.length >= kChunkedRead) {
        serve_read_in_chunks(request);
      } else {
        serve_read(request);
      }
      return;
    case Command::kWrite:
      serve_write(request, std::move(data));
      return;
    case Command::kWriteZeroes:
      serve_write_zeroes(request);
      return;
    case Command::kTrim:
      serve_trim(request);
      return;
    case Command::kFlush:
      serve_flush(request);
      return;
    case Command::kCache:
      serve_cache(request);
      return;
    case Command::kBlockStatus:
      serve_block_status(request, std::move(data));
      return;
    default:
      std::unreachable();  // refused above
  }
}

}  // namespace ashlar::nbd
