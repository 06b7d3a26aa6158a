// The way out of a connection: replies that are ready together are sent together.
#pragma once

#include <array>
#include <coroutine>
#include <cstddef>
#include <span>
#include <vector>

#include "ashlar/stream.h"
#include "ashlar/task.h"
#include "async/sync.h"
#include "exports/nbd/limits.h"
#include "protocols/nbd_transmission.h"

namespace ashlar::nbd {

/// One message to the client. Lives in the frame of the request that sends it.
class Reply {
 public:
  Reply() {}  // NOLINT(modernize-use-equals-default): no aggregate, see ByteRange
  Reply(const Reply&) = delete;

  /// A reply of the oldest kind; data of a read may follow.
  void set_simple(const SimpleReply& reply, std::span<const std::byte> payload = {});
  /// A chunk whose payload is `payload`.
  void set_chunk(Chunk chunk, Headers headers, std::span<const std::byte> payload);
  /// A chunk of data that starts at `offset`.
  void set_data(Chunk chunk, Headers headers, uint64_t offset, std::span<const std::byte> data);
  /// A chunk of zeroes.
  void set_hole(Chunk chunk, Headers headers, ByteRange hole);

 private:
  friend class ReplyQueue;
  std::array<std::byte, kMaxReplySize + kHoleSize> head_;
  size_t head_size_ = 0;
  std::span<const std::byte> payload_;
  Reply* next_ = nullptr;
  std::coroutine_handle<> waiter_;
};

/// Sends the replies of one connection in the order they came, as many as there are with one call.
/// On the connection's loop.
class ReplyQueue : private Posted {
 public:
  explicit ReplyQueue(Stream& stream);
  ReplyQueue(const ReplyQueue&) = delete;

  class SendAwaiter {
   public:
    SendAwaiter(ReplyQueue& queue, Reply& reply) : queue_(queue), reply_(reply) {}
    bool await_ready() const noexcept { return queue_.broken_; }
    void await_suspend(std::coroutine_handle<> self) noexcept {
      reply_.waiter_ = self;
      queue_.push(reply_);
    }
    void await_resume() const noexcept {}

   private:
    ReplyQueue& queue_;
    Reply& reply_;
  };
  /// Awaitable: continues when `reply` has been sent, or the connection is gone.
  SendAwaiter send(Reply& reply) { return {*this, reply}; }

  /// Sends until finish(), and what was there then.
  Task<void> deliver();
  void finish() noexcept;

 private:
  class WorkAwaiter;
  void push(Reply& reply) noexcept;
  void wake() noexcept;
  /// Moves what is queued into batch_.
  void gather();
  void resume_batch() noexcept;

  Stream& stream_;
  Reply* first_ = nullptr;
  Reply* last_ = nullptr;
  Reply* batch_ = nullptr;
  std::vector<ConstBuffers::Segment> segments_;
  std::coroutine_handle<> idle_;  // the sender, while it has nothing to do
  bool broken_ = false;
  bool finishing_ = false;
};

}  // namespace ashlar::nbd
