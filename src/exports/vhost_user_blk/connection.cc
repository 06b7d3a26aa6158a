// A client's messages: receiving, sorting, answering; its rings: when they run. What each message
// does is in connection_messages.cc.
#include "exports/vhost_user_blk/connection.h"

#include <fmt/format.h>

#include "async/on_loop.h"

namespace ashlar::vhost {

Connection::Connection(BlockDevice& device, std::span<Loop* const> loops, DescriptorSocket socket)
    : device_(device), socket_(std::move(socket)) {
  device_.reset();
  for (size_t index = 0; index < device_.setup().queues; ++index) {
    Ring ring;
    ring.queue = std::make_unique<Queue>(device_, static_cast<QueueOwner&>(*this));
    ring.loop = loops[index % loops.size()];
    rings_.push_back(std::move(ring));
  }
}

Connection::~Connection() = default;

void Connection::queue_failed(const Error& error) noexcept {
  {
    const std::lock_guard lock(failure_guard_);
    if (!failure_) failure_ = error;
  }
  socket_.shut_down();
}

Task<Error> Connection::run() {
  Result<void> served = ok();
  while (served) served = co_await serve_message();
  socket_.shut_down();
  channel_.shut_down();
  co_await close_queues();
  co_await telling_.join();
  const std::lock_guard lock(failure_guard_);
  co_return failure_ ? *failure_ : served.error();
}

Task<Result<void>> Connection::serve_message() {
  Message message;
  Result<void> received = co_await receive(message);
  if (!received) co_return received;
  Result<Reply> reply = co_await handle(message);
  const bool told = has(ProtocolFeature::kReplyAck) && message.header.wants_reply();
  // A client that asked for an answer learns of the refusal by it, and may go on.
  if (!reply && !told) co_return fail(reply.error());
  if (reply && !reply->bytes && !told) co_return ok();
  Reply answer;
  if (reply && reply->bytes) {
    answer = std::move(*reply);
  } else {
    answer.bytes = encode_number(reply ? 0 : 1);
  }
  co_return co_await send_reply(message.header, std::move(answer));
}

Task<Result<void>> Connection::receive(Message& message) {
  std::array<std::byte, Header::kSize> bytes;
  Result<void> received = co_await socket_.receive(bytes, message.descriptors);
  if (!received) co_return received;
  message.header = Header::decode(bytes);
  const Header& header = message.header;
  if ((header.flags & Header::kVersionBits) != Header::kVersion || header.size > kMostPayload ||
      (header.flags & Header::kReply) != 0) {
    co_return fail(Error(ErrorCode::kInvalidArgument,
                         fmt::format("a message with flags {:#x} and {} bytes, at most {} are due",
                                     header.flags, header.size, kMostPayload))
                       .because("vhost-message"));
  }
  message.payload.resize(header.size);
  received = co_await socket_.receive(message.payload, message.descriptors);
  if (!received) co_return received;
  co_return check_descriptors(message);
}

/// Nothing that comes along is kept or lost by accident: each message has its number.
Result<void> Connection::check_descriptors(const Message& message) const {
  size_t least = 0;
  size_t most = 0;
  switch (static_cast<Request>(message.header.request)) {
    case Request::kSetMemoryTable: {
      const Result<std::vector<Region>> regions = message.body().memory_table();
      if (!regions) return fail(regions.error());
      least = most = regions->size();
      break;
    }
    case Request::kSetRingKick:
    case Request::kSetRingCall:
    case Request::kSetRingError: {
      const Result<RingEvent> event = message.body().ring_event();
      if (!event) return fail(event.error());
      least = most = event->has_descriptor ? 1 : 0;
      break;
    }
    case Request::kSetBackendChannel:
    case Request::kSetInFlight:
    case Request::kAddMemoryRegion:
      least = most = 1;
      break;
    case Request::kRemoveMemoryRegion:
      most = 1;  // some frontends send one for nothing
      break;
    default:
      break;
  }
  const size_t count = message.descriptors.size();
  if (count >= least && count <= most) return ok();
  return fail(Error(ErrorCode::kInvalidArgument,
                    fmt::format("message {} came with {} descriptors, where {} are due",
                                message.header.request, count, least))
                  .because("vhost-descriptors"));
}

Task<Result<void>> Connection::send_reply(const Header& request, Reply reply) {
  Header header;
  header.request = request.request;
  header.flags = Header::kVersion | Header::kReply;
  header.size = static_cast<uint32_t>(reply.bytes->size());
  const auto encoded = header.encode();
  Bytes bytes(encoded.begin(), encoded.end());
  bytes.insert(bytes.end(), reply.bytes->begin(), reply.bytes->end());
  std::vector<int> descriptors;
  if (reply.descriptor) descriptors.push_back(reply.descriptor.get());
  co_return co_await socket_.send(bytes, std::move(descriptors));
}

Result<Connection::Ring*> Connection::ring_at(uint32_t index) {
  if (index < rings_.size()) return &rings_[index];
  return fail(Error(ErrorCode::kInvalidArgument,
                    fmt::format("ring {} of a device with {}", index, rings_.size()))
                  .because("vhost-ring"));
}

/// The client has said everything there is to say.
bool Connection::may_run(const Ring& ring) const {
  const bool enabled = ring.enabled || (features_ & bit(kProtocolFeatures)) == 0;
  return ring.has_kick && enabled && ring.addresses && ring.size != 0;
}

Result<std::span<std::byte>> Connection::log_area(const Ring& ring) const {
  const auto index = static_cast<size_t>(&ring - rings_.data());
  if (!in_flight_ || index >= in_flight_area_.queues) return std::span<std::byte>();
  const size_t length = InFlightLog::size_for(in_flight_area_.queue_size);
  return in_flight_->bytes().subspan(index * length, length);
}

Result<Queue::Run> Connection::prepare(const Ring& ring) {
  const auto events = (features_ & bit(kRingEventIndex)) != 0 ? SplitRing::Events::kIndex
                                                              : SplitRing::Events::kFlags;
  Result<SplitRing> opened = SplitRing::open(*memory_, *ring.addresses, ring.size, events);
  if (!opened) return fail(opened.error());
  Queue::Run run;
  run.memory = memory_.get();
  run.ring = *opened;
  run.indirect = (features_ & bit(kRingIndirect)) != 0 ? DescriptorChain::Indirect::kAllowed
                                                       : DescriptorChain::Indirect::kRefused;
  run.next = ring.base;
  const Result<std::span<std::byte>> area = log_area(ring);
  if (!area) return fail(area.error());
  const uint16_t used = run.ring.used_index();
  if (!area->empty()) {
    Result<InFlightLog> log = InFlightLog::open(*area, run.ring.size(), used, run.resumed);
    if (!log) return fail(log.error());
    run.log = *log;
    // Everything before this was taken: some answered, the others in the log.
    run.next = static_cast<uint16_t>(used + run.resumed.heads.size());
  }
  if (static_cast<uint16_t>(run.next - used) <= run.ring.size()) return run;
  return fail(
      Error(ErrorCode::kInvalidArgument,
            fmt::format("a ring of {} entries at {}, answered up to {}", ring.size, run.next, used))
          .because("vhost-ring-base"));
}

/// Starts a ring that is ready and does not run.
Task<Result<void>> Connection::settle(Ring& ring) {
  if (ring.running || !may_run(ring)) co_return ok();
  Result<Queue::Run> run = prepare(ring);
  if (!run) co_return fail(run.error());
  OnLoop<void> started(*ring.loop, ring.queue->start(std::move(*run)));
  co_await started;
  ring.running = true;
  co_return ok();
}

Task<Result<void>> Connection::settle_all() {
  for (Ring& ring : rings_) {
    Result<void> settled = co_await settle(ring);
    if (!settled) co_return settled;
  }
  co_return ok();
}

/// Stops a ring until settle(): its requests have ended.
Task<void> Connection::pause(Ring& ring) {
  if (!ring.running) co_return;
  OnLoop<uint16_t> stopped(*ring.loop, ring.queue->stop());
  ring.base = co_await stopped;
  ring.running = false;
}

Task<void> Connection::pause_all() {
  for (Ring& ring : rings_) co_await pause(ring);
}

Task<void> Connection::close_queues() {
  for (Ring& ring : rings_) {
    co_await pause(ring);
    OnLoop<void> call(*ring.loop, ring.queue->set_call(OwnedDescriptor()));
    co_await call;
    OnLoop<void> error(*ring.loop, ring.queue->set_error(OwnedDescriptor()));
    co_await error;
  }
}

void Connection::config_changed() {
  const bool wanted = has(ProtocolFeature::kConfig) && has(ProtocolFeature::kBackendRequests);
  if (!wanted || !channel_) return;
  config_news_ = true;
  if (telling_.running() == 0) telling_.spawn(tell_of_config());
}

Task<void> Connection::tell_of_config() {
  while (std::exchange(config_news_, false)) {
    Header header;
    header.request = static_cast<uint32_t>(BackendRequest::kConfigChanged);
    header.flags = Header::kVersion;
    const auto bytes = header.encode();
    const Result<void> sent = co_await channel_.send(bytes);
    // Its own loss: it will see the new size when it asks.
    if (!sent) co_return;
  }
}

}  // namespace ashlar::vhost
