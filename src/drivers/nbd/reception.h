// What comes from an NBD server: whose answer it is, and whether it is one at all.
#pragma once

#include "drivers/nbd/channel.h"
#include "drivers/nbd/input_buffer.h"

namespace ashlar::nbd::client {

/// Receives for one channel until its connection ends.
class Reception {
 public:
  explicit Reception(Channel& channel) : channel_(channel), input_(*channel.stream_) {}

  /// Always ends with an error: kClosed, kIo from below, or kCorrupt (reason "nbd-malformed").
  Task<Result<void>> run();

 private:
  Task<Result<ReplyHeader>> next_header();
  Task<Result<void>> take_simple(SimpleReply reply);
  Task<Result<void>> take_chunk(Chunk chunk);
  Task<Result<void>> take_payload(Call& call, Chunk chunk);
  Task<Result<void>> take_data(Call& call, Chunk chunk);
  Task<Result<void>> take_hole(Call& call, Chunk chunk);
  Task<Result<void>> take_status(Call& call, Chunk chunk);
  Task<Result<void>> take_error(Call& call, Chunk chunk);
  /// The place in the caller's buffers of a part of what it reads.
  static Result<MutableBuffers> place(Call& call, ByteRange part);
  void finish(Call& call);

  Channel& channel_;
  InputBuffer input_;
};

}  // namespace ashlar::nbd::client
