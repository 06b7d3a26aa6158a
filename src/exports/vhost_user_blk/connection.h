// One client of a vhost-user-blk export: its messages, its memory, its queues.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/loop.h"
#include "ashlar/task.h"
#include "async/descriptor_socket.h"
#include "async/owned_descriptor.h"
#include "async/shared_memory.h"
#include "async/sync.h"
#include "exports/vhost_user_blk/block_device.h"
#include "exports/vhost_user_blk/guest_memory.h"
#include "exports/vhost_user_blk/protocol.h"
#include "exports/vhost_user_blk/queue.h"

namespace ashlar::vhost {

/// Serves a client from its first message to its end. On the loop it was made on; its queues are
/// served on `loops` in turn. Whatever the client does wrong ends this connection and nothing else.
class Connection final : private QueueOwner {
 public:
  Connection(BlockDevice& device, std::span<Loop* const> loops, DescriptorSocket socket);
  ~Connection() override;

  /// Until the client has left, did something wrong, or was dropped; then its requests have ended
  /// too. Once. The error says why; kClosed (reason "socket-closed") when the client just left.
  Task<Error> run();
  /// Ends run() soon.
  void drop() noexcept { socket_.shut_down(); }
  /// The config space is another one now: tells the client, if it wants to know.
  void config_changed();

 private:
  struct Message {
    Header header;
    std::vector<std::byte> payload;
    std::vector<OwnedDescriptor> descriptors;
    Payload body() const { return Payload(payload); }
  };
  /// What is said back; nothing for most requests.
  struct Reply {
    std::optional<Bytes> bytes;
    OwnedDescriptor descriptor;
  };
  /// What the client has said about one ring.
  struct Ring {
    std::unique_ptr<Queue> queue;
    Loop* loop = nullptr;
    uint32_t size = 0;
    uint16_t base = 0;
    std::optional<RingAddresses> addresses;
    bool has_kick = false;
    bool enabled = false;
    bool running = false;
  };
  using Done = Task<Result<Reply>>;

  void queue_failed(const Error& error) noexcept override;
  Task<Result<void>> serve_message();
  Task<Result<void>> receive(Message& message);
  Task<Result<void>> send_reply(const Header& request, Reply reply);
  Result<void> check_descriptors(const Message& message) const;
  Done handle(Message& message);
  Done handle_ring(Message& message);
  Done handle_memory(Message& message);
  Done handle_device(Message& message);

  Done set_features(const Message& message);
  Done set_protocol_features(const Message& message);
  Done set_ring_size(const Message& message);
  Done set_ring_addresses(const Message& message);
  Done set_ring_base(const Message& message);
  Done get_ring_base(const Message& message);
  Done set_ring_enable(const Message& message);
  Done set_ring_event(Message& message);
  Done set_memory_table(const Message& message);
  Done change_memory_regions(const Message& message);
  Done get_config(const Message& message);
  Done set_config(const Message& message);
  Done get_in_flight(const Message& message);
  Done set_in_flight(const Message& message);
  Done set_status(const Message& message);
  Done reset();

  Result<Ring*> ring_at(uint32_t index);
  bool has(ProtocolFeature feature) const { return (protocol_features_ & bit(feature)) != 0; }
  bool may_run(const Ring& ring) const;
  Task<Result<void>> settle(Ring& ring);
  Task<Result<void>> settle_all();
  Result<Queue::Run> prepare(const Ring& ring);
  Result<std::span<std::byte>> log_area(const Ring& ring) const;
  Task<void> pause(Ring& ring);
  Task<void> pause_all();
  Task<void> close_queues();
  Task<void> tell_of_config();

  BlockDevice& device_;
  DescriptorSocket socket_;
  uint64_t protocol_features_ = 0;
  uint64_t features_ = 0;
  uint64_t status_ = 0;
  std::unique_ptr<GuestMemory> memory_ = std::make_unique<GuestMemory>();
  std::optional<SharedMemory> in_flight_;
  InFlightArea in_flight_area_;
  std::vector<Ring> rings_;

  DescriptorSocket channel_;  // for what we ask the client
  Scope telling_;
  bool config_news_ = false;

  std::mutex failure_guard_;
  std::optional<Error> failure_;  // of a queue
};

}  // namespace ashlar::vhost
