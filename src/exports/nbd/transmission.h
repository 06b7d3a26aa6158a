// The data phase of one connection: requests in, replies out, as many at once as the limits allow.
#pragma once

#include <coroutine>
#include <cstdint>
#include <optional>
#include <string_view>

#include "ashlar/stream.h"
#include "ashlar/task.h"
#include "async/on_loop.h"
#include "async/sync.h"
#include "exports/nbd/buffers.h"
#include "exports/nbd/deadline.h"
#include "exports/nbd/hold_off.h"
#include "exports/nbd/receiver.h"
#include "exports/nbd/replies.h"
#include "exports/nbd/session.h"

namespace ashlar::nbd {

/// Lives on one loop from run() to its end; the backend's requests start there too.
class Transmission {
 public:
  Transmission(Stream& stream, Session session, BufferPool& buffers);
  Transmission(const Transmission&) = delete;

  /// Serves until the client leaves or stop(), and then until every request has ended.
  Task<void> run();
  /// Takes no new requests, answers those under way, and ends. On the same loop.
  void stop() noexcept;

 private:
  class RoomAwaiter;
  class IdleAwaiter;
  /// Why a request is not carried out.
  struct Refusal {
    WireError error;
    std::string_view message;
  };

  // Receiving: transmission.cc.
  Task<void> receive_requests();
  enum class Taken : uint8_t { kRequest, kNothing, kEnd };
  Taken take_request(Request& request);
  /// Bytes that follow `request`.
  uint64_t payload_of(const Request& request) const noexcept;
  /// False: the connection is over.
  Task<bool> serve_with_payload(Request request);
  Task<bool> skip_payload(uint64_t length);
  /// What is wrong with `request` whatever the state of the disk.
  std::optional<Refusal> refusal_of(const Request& request) const noexcept;
  uint16_t flags_of(Command command) const noexcept;
  uint64_t cost_of(const Request& request) const noexcept;
  void start(const Request& request, Buffer data);
  void begin(const Request& request) noexcept;
  void end(const Request& request) noexcept;
  bool has_room(uint64_t cost) const noexcept;

  // Each answers its request and ends by itself: commands.cc.
  Detached serve_read(Request request);
  Detached serve_read_in_chunks(Request request);
  Detached serve_write(Request request, Buffer data);
  Detached serve_write_zeroes(Request request);
  Detached serve_trim(Request request);
  Detached serve_flush(Request request);
  Detached serve_cache(Request request);
  Detached refuse(Request request, Refusal why);
  Task<Result<void>> read_extent(const Request& request, ByteRange extent);
  Task<Result<void>> discard(const Request& request);
  Task<Result<void>> read_ahead(ByteRange range);
  Task<void> send_result(const Request& request, const Result<void>& result);
  Task<void> send_error(const Request& request, WireError error, std::string_view message);

  // block_status.cc
  Detached serve_block_status(Request request, Buffer filter);
  Task<Result<void>> send_block_status(const Request& request, const std::vector<Context>& contexts,
                                       uint64_t length);
  Task<Result<BlockStatus>> describe(const Context& context, const Request& request,
                                     uint64_t length);

  Chunk chunk_of(const Request& request, uint16_t flags) const noexcept {
    Chunk chunk;
    chunk.flags = flags;
    chunk.cookie = request.cookie;
    chunk.offset = request.offset;
    return chunk;
  }
  /// Whether the answer to a read may come in several pieces.
  bool may_fragment(const Request& request) const noexcept {
    return session_.structured() && (request.flags & command_flag::kDontFragment) == 0;
  }
  Backend& backend() const noexcept { return *session_.served->backend; }

  Stream& stream_;
  const Session session_;
  BufferPool& buffers_;
  Receiver receiver_;
  ReplyQueue replies_;
  Deadline farewell_;
  unsigned requests_ = 0;  // under way
  uint64_t bytes_ = 0;     // that they use
  RoomAwaiter* waiting_ = nullptr;
  std::coroutine_handle<> when_idle_;
  bool stopping_ = false;
};

}  // namespace ashlar::nbd
