// Gathering and sending of replies.
#include "exports/nbd/replies.h"

#include <algorithm>
#include <utility>

#include "base/endian.h"

namespace ashlar::nbd {

void Reply::set_simple(const SimpleReply& reply, std::span<const std::byte> payload) {
  encode(reply, std::span(head_).first<kSimpleReplySize>());
  head_size_ = kSimpleReplySize;
  payload_ = payload;
}

void Reply::set_chunk(Chunk chunk, Headers headers, std::span<const std::byte> payload) {
  chunk.length = payload.size();
  encode(chunk, headers, std::span(head_).first<kMaxReplySize>());
  head_size_ = chunk_size(headers);
  payload_ = payload;
}

void Reply::set_data(Chunk chunk, Headers headers, uint64_t offset,
                     std::span<const std::byte> data) {
  chunk.type = ChunkType::kOffsetData;
  chunk.length = kDataOffsetSize + data.size();
  encode(chunk, headers, std::span(head_).first<kMaxReplySize>());
  head_size_ = chunk_size(headers);
  store_be(head_.data() + head_size_, offset);
  head_size_ += kDataOffsetSize;
  payload_ = data;
}

void Reply::set_hole(Chunk chunk, Headers headers, ByteRange hole) {
  chunk.type = ChunkType::kOffsetHole;
  chunk.length = kHoleSize;
  encode(chunk, headers, std::span(head_).first<kMaxReplySize>());
  head_size_ = chunk_size(headers);
  const std::array<std::byte, kHoleSize> payload = encode_hole(hole);
  std::ranges::copy(payload, head_.begin() + static_cast<ptrdiff_t>(head_size_));
  head_size_ += kHoleSize;
  payload_ = {};
}

ReplyQueue::ReplyQueue(Stream& stream) : stream_(stream) {
  run = [](Posted& work) noexcept {
    auto& self = static_cast<ReplyQueue&>(work);
    std::exchange(self.idle_, {}).resume();
  };
}

/// Continues when there is something to send, after what else is ready on the loop: requests that
/// end in the same turn share one call.
class ReplyQueue::WorkAwaiter {
 public:
  explicit WorkAwaiter(ReplyQueue& queue) : queue_(queue) {}
  bool await_ready() const noexcept { return queue_.first_ != nullptr || queue_.finishing_; }
  void await_suspend(std::coroutine_handle<> self) noexcept { queue_.idle_ = self; }
  void await_resume() const noexcept {}

 private:
  ReplyQueue& queue_;
};

void ReplyQueue::wake() noexcept {
  // Once: idle_ is taken when the posted work runs, and until then nothing but the first reply or
  // the end comes here.
  if (idle_) Loop::current().post(*this);
}

void ReplyQueue::push(Reply& reply) noexcept {
  const bool was_empty = first_ == nullptr;
  reply.next_ = nullptr;
  (was_empty ? first_ : last_->next_) = &reply;
  last_ = &reply;
  if (was_empty && !finishing_) wake();
}

void ReplyQueue::finish() noexcept {
  if (std::exchange(finishing_, true)) return;
  if (first_ == nullptr) wake();
}

void ReplyQueue::gather() {
  segments_.clear();
  batch_ = first_;
  Reply** end = &batch_;
  for (size_t count = 0; *end != nullptr && count < kMaxBatch; ++count) {
    Reply& reply = **end;
    segments_.emplace_back(reply.head_.data(), reply.head_size_);
    if (!reply.payload_.empty()) segments_.push_back(reply.payload_);
    end = &reply.next_;
  }
  first_ = std::exchange(*end, nullptr);
  if (first_ == nullptr) last_ = nullptr;
}

void ReplyQueue::resume_batch() noexcept {
  Reply* reply = std::exchange(batch_, nullptr);
  while (reply != nullptr) {
    // The reply goes with the frame that is resumed.
    const std::coroutine_handle<> waiter = reply->waiter_;
    reply = reply->next_;
    waiter.resume();
  }
}

Task<void> ReplyQueue::deliver() {
  while (true) {
    WorkAwaiter work(*this);
    co_await work;
    if (first_ == nullptr) break;
    gather();
    if (!broken_) {
      const ConstBuffers all{std::span<const ConstBuffers::Segment>(segments_)};
      const Result<void> sent = co_await stream_.write_all(all);
      if (!sent) {
        broken_ = true;
        stream_.shut_down();
      }
    }
    resume_batch();
  }
}

}  // namespace ashlar::nbd
