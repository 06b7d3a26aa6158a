// One queue in service: takes requests from its ring, runs them on the device, answers in batches.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/loop.h"
#include "ashlar/task.h"
#include "async/event_descriptor.h"
#include "async/owned_descriptor.h"
#include "async/sync.h"
#include "exports/vhost_user_blk/block_device.h"
#include "exports/vhost_user_blk/descriptor_chain.h"
#include "exports/vhost_user_blk/guest_memory.h"
#include "exports/vhost_user_blk/in_flight.h"
#include "exports/vhost_user_blk/split_ring.h"

namespace ashlar::vhost {

/// Who is told that a queue cannot go on. From the queue's loop.
class QueueOwner {
 public:
  virtual ~QueueOwner() = default;
  virtual void queue_failed(const Error& error) noexcept = 0;
};

/// All members but the constructor are tasks of the queue's loop: run them there.
class Queue {
 public:
  Queue(BlockDevice& device, QueueOwner& owner);
  Queue(const Queue&) = delete;

  /// What a run of the queue works on; all of it stays until stop() has returned.
  struct Run {
    const GuestMemory* memory = nullptr;
    SplitRing ring;
    DescriptorChain::Indirect indirect = DescriptorChain::Indirect::kRefused;
    uint16_t next = 0;  ///< the next available entry to take
    InFlightLog log;
    InFlightLog::Resumed resumed;  ///< to be run first
  };
  /// Takes what is available at once, then at every kick.
  Task<void> start(Run run);
  /// Takes no more and waits for what is in flight; gives the next available entry.
  Task<uint16_t> stop();

  /// What wakes this queue, while it is stopped. Empty: it looks again and again.
  Task<void> set_kick(OwnedDescriptor event);
  /// What is signalled when requests were answered; at once, too, as an answer may have been
  /// missed.
  Task<void> set_call(OwnedDescriptor event);
  /// What is signalled when the queue fails.
  Task<void> set_error(OwnedDescriptor event);

 private:
  struct Request {
    DescriptorChain chain;
    BlockRequest block;
    uint16_t head = 0;
    Request* next_free = nullptr;
  };
  /// Shows what was answered when everything else that is ready has run.
  struct Publishing : Posted {
    Queue* owner = nullptr;
  };
  enum class Taken : uint8_t { kNothing, kSome, kFailed };

  Task<void> fetch();
  Task<void> wait_for_work();
  Task<void> watch_ring();
  bool may_watch() const noexcept;
  Taken take_available();
  bool begin(uint16_t head);
  Result<void> admit(uint16_t head);
  Request& free_request();
  Task<void> finish_later(Request& request, StartedRequest started);
  void finish(Request& request, Status status, uint64_t fills);
  void publish();
  void check_memory();
  void fail_with(const Error& error) noexcept;

  BlockDevice& device_;
  QueueOwner& owner_;
  const unsigned cores_;
  EventWaiter kick_;
  EventSignaller call_;
  EventSignaller error_;

  Run run_;
  Scope scope_;  // fetch() and requests that wait
  bool stopping_ = false;
  bool failed_ = false;
  bool taking_ = false;    // answers given meanwhile are shown together at the end
  uint64_t watch_ns_ = 0;  // how long the ring is watched before a kick is asked for

  std::vector<std::unique_ptr<Request>> requests_;
  Request* free_ = nullptr;
  std::bitset<SplitRing::kMostEntries> in_flight_;
  size_t in_flight_count_ = 0;

  uint16_t used_ = 0;   // answered
  uint16_t shown_ = 0;  // of these, shown to the driver
  std::vector<uint16_t> answered_;
  Publishing publishing_;
  bool publishing_later_ = false;
};

}  // namespace ashlar::vhost
