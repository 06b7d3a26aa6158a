// Sending in batches, and who waits for what.
#include "drivers/nbd/channel.h"

#include <fmt/format.h>

#include "drivers/nbd/reception.h"

namespace ashlar::nbd::client {
namespace {

constexpr uint64_t kSlotMask = 0xff;
static_assert(kMaxInFlight <= kSlotMask + 1);

constexpr uint64_t kGoodbyeNs = 1'000'000'000;

}  // namespace

/// Suspends until the server has answered and nothing refers to the call any more.
class Channel::CallAwaiter : Waiter {
 public:
  explicit CallAwaiter(Call& call) : call_(call) {}
  bool await_ready() const noexcept { return call_.replied_ && call_.sent_; }
  void await_suspend(std::coroutine_handle<> self) noexcept {
    prepare(self);
    call_.waiter_ = this;
  }
  void await_resume() const noexcept {}

 private:
  Call& call_;
};

Channel::Channel(Established established)
    : stream_(std::move(established.stream)), agreement_(established.agreement) {}

Channel::~Channel() { assert(in_flight_ == 0); }

void Channel::start(std::function<void()> on_lost) {
  on_lost_ = std::move(on_lost);
  scope_.spawn(receive());
}

Task<Result<void>> Channel::perform(Call& call) {
  co_await free_slots_.acquire();
  if (lost_) {
    free_slots_.release();
    co_return fail(*lost_);
  }
  size_t index = 0;
  while (slots_[index].call != nullptr) ++index;
  Slot& slot = slots_[index];
  slot.call = &call;
  call.request.cookie = ++slot.uses << 8 | index;
  call.received_ = ReceivedRanges();
  call.error_.reset();
  call.sent_ = call.replied_ = call.has_status_ = false;
  ++in_flight_;
  (queue_tail_ == nullptr ? queue_head_ : queue_tail_->next_) = &call;
  queue_tail_ = &call;
  call.next_ = nullptr;
  if (!sending_) {
    sending_ = true;
    scope_.spawn(send_queued());
  }
  CallAwaiter answered(call);
  co_await answered;
  slot.call = nullptr;
  --in_flight_;
  free_slots_.release();
  if (call.error_) co_return fail(*call.error_);
  co_return ok();
}

/// Sends until nothing is queued. What comes while others send, or in the same turn of the loop,
/// goes out together.
Task<void> Channel::send_queued() {
  co_await yield();
  while (queue_head_ != nullptr) {
    Call* batch = std::exchange(queue_head_, nullptr);
    queue_tail_ = nullptr;
    Result<void> sent;
    if (!lost_) sent = co_await send_batch(batch);
    if (!sent) lose(sent.error());
    while (batch != nullptr) {
      Call* next = batch->next_;
      batch->sent_ = true;
      wake_if_done(*batch);  // the call may be gone now
      batch = next;
    }
  }
  sending_ = false;
}

Task<Result<void>> Channel::send_batch(Call* batch) {
  segments_.clear();
  const size_t size = request_size(agreement_.headers);
  size_t count = 0;
  for (const Call* call = batch; call != nullptr; call = call->next_) {
    std::span<std::byte, kMaxRequestSize> header = headers_[count++];
    encode(call->request, agreement_.headers, header);
    segments_.push_back(header.first(size));
    call->payload.for_each([this](std::span<const std::byte> part) { segments_.push_back(part); });
  }
  const ConstBuffers all{std::span<const std::span<const std::byte>>(segments_)};
  co_return co_await stream_->write_all(all);
}

Task<void> Channel::receive() {
  Reception reception(*this);
  Result<void> ended = co_await reception.run();
  lose(ended.error());
  // Only here: nothing writes to the buffers of calls any more.
  for (Slot& slot : slots_) {
    if (slot.call != nullptr && !slot.call->replied_) finish(*slot.call);
  }
  if (!closing_ && on_lost_) on_lost_();
}

Call* Channel::find(uint64_t cookie) const noexcept {
  const size_t index = cookie & kSlotMask;
  if (index >= slots_.size()) return nullptr;
  const Slot& slot = slots_[index];
  // A call that has its answer waits only to be sent to the end: it gets no second one.
  const bool waits = slot.call != nullptr && !slot.call->replied_;
  return waits && slot.uses == cookie >> 8 ? slot.call : nullptr;
}

/// The answer to `call` is complete, and what receives has done with its buffers.
void Channel::finish(Call& call) noexcept {
  call.replied_ = true;
  if (lost_ && !call.error_) call.error_ = *lost_;
  wake_if_done(call);
}

void Channel::wake_if_done(Call& call) noexcept {
  if (!call.sent_ || !call.replied_) return;
  if (Waiter* waiter = std::exchange(call.waiter_, nullptr)) waiter->wake();
}

/// The connection has ended. What receives then ends too, and tells those who wait.
void Channel::lose(const Error& why) {
  if (lost_) return;
  lost_ = Error(why.code(), why.message()).because("nbd-lost", {why.message()});
  stream_->shut_down();
}

Task<void> Channel::say_goodbye(Pause& limit) {
  std::array<std::byte, kMaxRequestSize> bytes;
  Request goodbye;
  goodbye.command = Command::kDisconnect;
  encode(goodbye, agreement_.headers, bytes);
  const ConstBuffers message(bytes.data(), request_size(agreement_.headers));
  (void)co_await stream_->write_all(message);  // who does not hear it sees the end all the same
  limit.cancel();
}

Task<void> Channel::close() {
  closing_ = true;
  if (!lost_) {
    Scope farewell;
    Pause limit;
    farewell.spawn(say_goodbye(limit));
    co_await limit.wait(kGoodbyeNs);
    stream_->shut_down();
    co_await farewell.join();
  }
  co_await scope_.join();
}

}  // namespace ashlar::nbd::client
