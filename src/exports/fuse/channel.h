// One loop's part of a FUSE connection: it receives requests and keeps what it answers.
#pragma once

#include <cstddef>
#include <span>

#include "ashlar/loop.h"
#include "ashlar/task.h"
#include "async/fuse_device.h"
#include "async/io_operation.h"
#include "async/sync.h"
#include "exports/fuse/blocks.h"

struct fuse_session;

namespace ashlar::fuse {

/// Lives on its loop from start() to stop().
class Channel {
 public:
  /// Requests that may be under way at once on one loop.
  static constexpr unsigned kMostRequests = 256;

  Channel(Loop& loop, fuse_session* session, FuseDevice device)
      : loop_(loop), session_(session), device_(std::move(device)) {}

  Loop& loop() const noexcept { return loop_; }
  int fd() const noexcept { return device_.fd(); }
  size_t requests() const noexcept { return requests_.running(); }

  /// Receives until stop(), or until the file system has gone. On the channel's loop.
  Task<void> start();
  /// Receives no more and waits for the requests under way. On the channel's loop.
  Task<void> stop();

  // --- For those who answer the request that was received last.

  /// Runs `answer` beside further requests.
  void serve(Task<void> answer);
  /// Keeps the data of the write that was received last: in the block it came in, or in a copy.
  Block keep_data(std::span<const std::byte> data);
  BlockPool& blocks() noexcept { return blocks_; }

 private:
  Task<void> receive();
  Task<void> wait_for_request();
  void process(size_t length);
  static Task<void> run(Channel& channel, Task<void> answer);

  Loop& loop_;
  fuse_session* session_;
  FuseDevice device_;
  BlockPool blocks_;
  Block received_;  // what process() looks at
  Semaphore places_{kMostRequests};
  Scope receiving_;
  Scope requests_;
  IoOperation poll_;
  bool polling_ = false;
  bool stopping_ = false;
};

}  // namespace ashlar::fuse
