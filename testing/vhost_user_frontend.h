// A vhost-user frontend with a small guest in it: memory, rings and a block driver. For tests.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/task.h"
#include "async/descriptor_socket.h"
#include "async/event_descriptor.h"
#include "async/owned_descriptor.h"
#include "async/shared_memory.h"
#include "async/sync.h"
#include "exports/vhost_user_blk/protocol.h"
#include "testing/guest_ring.h"

namespace ashlar::vhost {

/// Runs on one loop. Errors of a frontend are those of its socket, and "frontend-refused" when the
/// backend answers a command with a failure.
class Frontend {
 public:
  struct Options {
    uint64_t memory = 16_MiB;
    uint16_t queues = 1;
    uint16_t queue_size = 64;
    /// Features that are not taken although they are offered.
    uint64_t without = 0;
    uint64_t without_protocol = 0;
    bool sealed = true;
    /// Chains go into tables of their own.
    bool indirect = false;
    /// Memory is told region by region instead of as a table.
    bool by_region = false;
  };
  static constexpr uint64_t kUserBase = uint64_t{0x7f} << 40;

  explicit Frontend(Options options) : options_(options) {}
  Frontend(const Frontend&) = delete;
  /// close() was awaited.
  ~Frontend();

  /// Connects and agrees on features.
  Task<Result<void>> connect(std::string path);
  /// New memory, or what is there when it came from another frontend; then queues, until they run.
  Task<Result<void>> start();
  /// connect() and start().
  Task<Result<void>> open(std::string path);
  /// Ends everything; requests that wait fail.
  Task<void> close();
  /// Loses the backend; the guest goes on, with its requests in flight, at the next open().
  Task<void> disconnect();

  // --- Messages.

  struct Answer {
    Header header;
    Bytes payload;
    std::vector<OwnedDescriptor> descriptors;
  };
  Task<Result<void>> send(Request request, Bytes payload, std::vector<int> descriptors = {},
                          uint32_t flags = Header::kVersion);
  Task<Result<Answer>> receive();
  Task<Result<Answer>> ask(Request request, Bytes payload = {});
  Task<Result<uint64_t>> ask_number(Request request);
  /// Sends and waits for the acknowledgement.
  Task<Result<void>> command(Request request, Bytes payload, std::vector<int> descriptors = {});
  /// The next message on the backend's channel.
  Task<Result<uint32_t>> next_news();
  Task<Result<Bytes>> config();
  /// Starts queue `index`; stop_queue() gives where it stopped.
  Task<Result<void>> start_queue(uint16_t index);
  Task<Result<uint16_t>> stop_queue(uint16_t index);
  Task<Result<void>> share_memory();
  Task<Result<void>> set_in_flight();

  // --- Requests of the guest.

  struct Completion {
    uint8_t status = 0xff;
    uint32_t length = 0;
    Bytes data;
  };
  struct Demand {
    uint32_t type = 0;
    uint64_t sector = 0;
    std::span<const std::byte> from{};
    uint32_t into = 0;
  };
  /// One request, to its end. Errors: kClosed when the frontend closes before.
  Task<Result<Completion>> request(uint16_t queue, Demand demand);
  /// Puts the buffers of a request into the ring without waiting.
  struct Placed {
    uint16_t head = 0;
    uint64_t data = 0;
    uint64_t status = 0;
  };
  Placed place(uint16_t queue, const Demand& demand);
  void kick(uint16_t queue);
  /// Kicks whatever the ring says.
  Task<void> kick_always(uint16_t queue);
  /// How often the device called.
  uint64_t calls(uint16_t queue) const { return queues_[queue]->calls; }

  GuestRing& ring(uint16_t queue) { return queues_[queue]->ring; }
  std::span<std::byte> memory() const { return memory_->bytes(); }
  const OwnedDescriptor& memory_file() const { return memory_file_; }
  /// What the first queue notes of its requests in flight.
  std::span<std::byte> in_flight_log() const { return log_->bytes(); }
  Region whole_memory() const;
  /// Memory for `size` bytes that nothing else uses, for tests that build chains by hand.
  uint64_t allocate(uint64_t size);
  uint64_t features() const { return features_; }
  DescriptorSocket& socket() { return socket_; }

 private:
  struct Waiting {
    std::coroutine_handle<> handle;
    uint32_t length = 0;
    bool done = false;
  };
  struct GuestQueue {
    explicit GuestQueue(const GuestRing::Setup& setup) : ring(setup) {}
    GuestRing ring;
    std::vector<Waiting> waiting;  // by head
    std::vector<uint64_t> free_slots;
    OwnedDescriptor kick, call, error;
    EventSignaller kicker;
    EventWaiter called;
    Scope pump;
    uint64_t calls = 0;
    uint64_t table_at = 0;
  };
  class CompletionAwaiter;
  static constexpr uint64_t kSlot = 160_KiB;  // header, data, status of one request
  static constexpr uint64_t kHeaderSize = 16;

  Task<void> pump(GuestQueue& queue);
  Task<void> quieten(GuestQueue& queue);
  void deliver(GuestQueue& queue);
  Task<Result<void>> make_memory();
  Task<Result<void>> make_queues();

  const Options options_;
  DescriptorSocket socket_;
  std::optional<DescriptorSocket> news_;
  uint64_t features_ = 0;
  std::optional<SharedMemory> memory_;
  OwnedDescriptor memory_file_;
  uint64_t allocated_ = 0;
  std::vector<std::unique_ptr<GuestQueue>> queues_;
  OwnedDescriptor in_flight_;
  std::optional<SharedMemory> log_;
  InFlightArea in_flight_area_;
};

}  // namespace ashlar::vhost
