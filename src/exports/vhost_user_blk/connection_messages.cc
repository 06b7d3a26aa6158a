// What each message of a client does. See connection.h.
#include <fmt/format.h>

#include <algorithm>

#include "async/on_loop.h"
#include "base/checked.h"
#include "exports/vhost_user_blk/connection.h"

namespace ashlar::vhost {
namespace {

/// What we have of the protocol's own features.
constexpr uint64_t kOurProtocolFeatures =
    bit(ProtocolFeature::kMultiQueue) | bit(ProtocolFeature::kReplyAck) |
    bit(ProtocolFeature::kBackendRequests) | bit(ProtocolFeature::kConfig) |
    bit(ProtocolFeature::kInFlight) | bit(ProtocolFeature::kResetDevice) |
    bit(ProtocolFeature::kMemorySlots) | bit(ProtocolFeature::kStatus);

Error refused(const Header& header, std::string_view why) {
  return Error(ErrorCode::kInvalidArgument, fmt::format("message {} {}", header.request, why))
      .because("vhost-message");
}

/// The protocol feature that brings a message, if one does.
std::optional<ProtocolFeature> feature_of(Request request) {
  switch (request) {
    case Request::kGetQueueCount:
      return ProtocolFeature::kMultiQueue;
    case Request::kSetBackendChannel:
      return ProtocolFeature::kBackendRequests;
    case Request::kGetConfig:
    case Request::kSetConfig:
      return ProtocolFeature::kConfig;
    case Request::kGetInFlight:
    case Request::kSetInFlight:
      return ProtocolFeature::kInFlight;
    case Request::kResetDevice:
      return ProtocolFeature::kResetDevice;
    case Request::kGetMostMemoryRegions:
    case Request::kAddMemoryRegion:
    case Request::kRemoveMemoryRegion:
      return ProtocolFeature::kMemorySlots;
    case Request::kSetStatus:
    case Request::kGetStatus:
      return ProtocolFeature::kStatus;
    default:
      return std::nullopt;
  }
}

}  // namespace

Connection::Done Connection::handle(Message& message) {
  const auto request = static_cast<Request>(message.header.request);
  const std::optional<ProtocolFeature> feature = feature_of(request);
  // The number of queues may be asked for before anything was agreed on.
  if (feature && request != Request::kGetQueueCount && !has(*feature)) {
    co_return fail(refused(message.header, "belongs to a feature that was not agreed on"));
  }
  switch (request) {
    case Request::kSetRingSize:
    case Request::kSetRingAddresses:
    case Request::kSetRingBase:
    case Request::kGetRingBase:
    case Request::kSetRingKick:
    case Request::kSetRingCall:
    case Request::kSetRingError:
    case Request::kSetRingEnable:
      co_return co_await handle_ring(message);
    case Request::kSetMemoryTable:
    case Request::kAddMemoryRegion:
    case Request::kRemoveMemoryRegion:
    case Request::kGetInFlight:
    case Request::kSetInFlight:
      co_return co_await handle_memory(message);
    default:
      co_return co_await handle_device(message);
  }
}

Connection::Done Connection::handle_ring(Message& message) {
  switch (static_cast<Request>(message.header.request)) {
    case Request::kSetRingSize:
      return set_ring_size(message);
    case Request::kSetRingAddresses:
      return set_ring_addresses(message);
    case Request::kSetRingBase:
      return set_ring_base(message);
    case Request::kGetRingBase:
      return get_ring_base(message);
    case Request::kSetRingEnable:
      return set_ring_enable(message);
    default:
      return set_ring_event(message);
  }
}

Connection::Done Connection::handle_memory(Message& message) {
  switch (static_cast<Request>(message.header.request)) {
    case Request::kSetMemoryTable:
      return set_memory_table(message);
    case Request::kGetInFlight:
      return get_in_flight(message);
    case Request::kSetInFlight:
      return set_in_flight(message);
    default:
      return change_memory_regions(message);
  }
}

Connection::Done Connection::handle_device(Message& message) {
  const auto request = static_cast<Request>(message.header.request);
  const auto empty = [&message] { return message.body().nothing(); };
  Reply reply;
  switch (request) {
    case Request::kSetFeatures:
      co_return co_await set_features(message);
    case Request::kSetProtocolFeatures:
      co_return co_await set_protocol_features(message);
    case Request::kGetConfig:
      co_return co_await get_config(message);
    case Request::kSetConfig:
      co_return co_await set_config(message);
    case Request::kSetStatus:
      co_return co_await set_status(message);
    case Request::kSetBackendChannel:
      channel_.shut_down();
      co_await telling_.join();
      channel_ = DescriptorSocket(std::move(message.descriptors.front()));
      break;
    case Request::kSetOwner:
      break;
    case Request::kResetOwner:
      // Of old; what it meant was never agreed on but for this.
      co_await pause_all();
      for (Ring& ring : rings_) ring.enabled = false;
      break;
    case Request::kResetDevice:
      if (Result<void> fits = empty(); !fits) co_return fail(fits.error());
      co_return co_await reset();
    case Request::kGetFeatures:
      reply.bytes = encode_number(device_.features());
      break;
    case Request::kGetProtocolFeatures:
      reply.bytes = encode_number(kOurProtocolFeatures);
      break;
    case Request::kGetQueueCount:
      reply.bytes = encode_number(rings_.size());
      break;
    case Request::kGetMostMemoryRegions:
      reply.bytes = encode_number(GuestMemory::kMostRegions);
      break;
    case Request::kGetStatus:
      reply.bytes = encode_number(status_);
      break;
    default:
      co_return fail(refused(message.header, "is not known"));
  }
  if (Result<void> fits = empty(); !fits) co_return fail(fits.error());
  co_return reply;
}

Connection::Done Connection::set_features(const Message& message) {
  const Result<uint64_t> wanted = message.body().number();
  if (!wanted) co_return fail(wanted.error());
  co_await pause_all();
  // Frontends also send what they add themselves; it means nothing to us.
  features_ = *wanted & device_.features();
  device_.accept(features_);
  Result<void> settled = co_await settle_all();
  if (!settled) co_return fail(settled.error());
  co_return Reply();
}

Connection::Done Connection::set_protocol_features(const Message& message) {
  const Result<uint64_t> wanted = message.body().number();
  if (!wanted) co_return fail(wanted.error());
  if ((*wanted & ~kOurProtocolFeatures) != 0) {
    co_return fail(refused(message.header, fmt::format("wants features {:#x} of {:#x}", *wanted,
                                                       kOurProtocolFeatures)));
  }
  protocol_features_ = *wanted;
  co_return Reply();
}

Connection::Done Connection::set_ring_size(const Message& message) {
  const Result<RingState> state = message.body().ring_state();
  if (!state) co_return fail(state.error());
  Result<Ring*> ring = ring_at(state->index);
  if (!ring) co_return fail(ring.error());
  if (!is_power_of_two(state->number) || state->number > SplitRing::kMostEntries) {
    co_return fail(Error(ErrorCode::kInvalidArgument,
                         fmt::format("a ring has a power of two of entries up to {}, not {}",
                                     SplitRing::kMostEntries, state->number))
                       .because("vhost-ring-size"));
  }
  co_await pause(**ring);
  (*ring)->size = state->number;
  Result<void> settled = co_await settle(**ring);
  if (!settled) co_return fail(settled.error());
  co_return Reply();
}

Connection::Done Connection::set_ring_addresses(const Message& message) {
  const Result<RingAddresses> addresses = message.body().ring_addresses();
  if (!addresses) co_return fail(addresses.error());
  Result<Ring*> ring = ring_at(addresses->index);
  if (!ring) co_return fail(ring.error());
  co_await pause(**ring);
  (*ring)->addresses = *addresses;
  Result<void> settled = co_await settle(**ring);
  if (!settled) co_return fail(settled.error());
  co_return Reply();
}

Connection::Done Connection::set_ring_base(const Message& message) {
  const Result<RingState> state = message.body().ring_state();
  if (!state) co_return fail(state.error());
  Result<Ring*> ring = ring_at(state->index);
  if (!ring) co_return fail(ring.error());
  if (state->number > UINT16_MAX) {
    co_return fail(refused(
        message.header, fmt::format("starts a ring at {}, at most {}", state->number, UINT16_MAX)));
  }
  co_await pause(**ring);
  (*ring)->base = static_cast<uint16_t>(state->number);
  Result<void> settled = co_await settle(**ring);
  if (!settled) co_return fail(settled.error());
  co_return Reply();
}

/// Also the end of the ring's run, until it gets a kick descriptor again.
Connection::Done Connection::get_ring_base(const Message& message) {
  const Result<RingState> state = message.body().ring_state();
  if (!state) co_return fail(state.error());
  Result<Ring*> ring = ring_at(state->index);
  if (!ring) co_return fail(ring.error());
  co_await pause(**ring);
  (*ring)->has_kick = false;
  OnLoop<void> closed(*(*ring)->loop, (*ring)->queue->set_kick(OwnedDescriptor()));
  co_await closed;
  Reply reply;
  RingState answer;
  answer.index = state->index;
  answer.number = (*ring)->base;
  reply.bytes = encode_ring_state(answer);
  co_return reply;
}

Connection::Done Connection::set_ring_enable(const Message& message) {
  const Result<RingState> state = message.body().ring_state();
  if (!state) co_return fail(state.error());
  Result<Ring*> ring = ring_at(state->index);
  if (!ring) co_return fail(ring.error());
  if (state->number > 1) {
    co_return fail(refused(message.header, fmt::format("sets a switch to {}", state->number)));
  }
  (*ring)->enabled = state->number == 1;
  if (!may_run(**ring)) co_await pause(**ring);
  Result<void> settled = co_await settle(**ring);
  if (!settled) co_return fail(settled.error());
  co_return Reply();
}

Connection::Done Connection::set_ring_event(Message& message) {
  const Result<RingEvent> event = message.body().ring_event();
  if (!event) co_return fail(event.error());
  Result<Ring*> found = ring_at(event->index);
  if (!found) co_return fail(found.error());
  Ring& ring = **found;
  OwnedDescriptor descriptor;
  if (event->has_descriptor) descriptor = std::move(message.descriptors.front());
  if (descriptor && !is_event(descriptor)) {
    co_return fail(refused(message.header, "came with a descriptor of no event"));
  }
  const auto request = static_cast<Request>(message.header.request);
  if (request == Request::kSetRingCall) {
    OnLoop<void> set(*ring.loop, ring.queue->set_call(std::move(descriptor)));
    co_await set;
    co_return Reply();
  }
  if (request == Request::kSetRingError) {
    OnLoop<void> set(*ring.loop, ring.queue->set_error(std::move(descriptor)));
    co_await set;
    co_return Reply();
  }
  co_await pause(ring);
  OnLoop<void> set(*ring.loop, ring.queue->set_kick(std::move(descriptor)));
  co_await set;
  ring.has_kick = true;
  Result<void> settled = co_await settle(ring);
  if (!settled) co_return fail(settled.error());
  co_return Reply();
}

Connection::Done Connection::set_memory_table(const Message& message) {
  const Result<std::vector<Region>> regions = message.body().memory_table();
  if (!regions) co_return fail(regions.error());
  auto table = std::make_unique<GuestMemory>();
  for (size_t index = 0; index < regions->size(); ++index) {
    Result<void> added = table->add((*regions)[index], message.descriptors[index]);
    if (!added) co_return fail(added.error());
  }
  co_await pause_all();
  memory_ = std::move(table);
  Result<void> settled = co_await settle_all();
  if (!settled) co_return fail(settled.error());
  co_return Reply();
}

Connection::Done Connection::change_memory_regions(const Message& message) {
  const Result<Region> region = message.body().memory_region();
  if (!region) co_return fail(region.error());
  co_await pause_all();
  const bool adding = static_cast<Request>(message.header.request) == Request::kAddMemoryRegion;
  Result<void> changed =
      adding ? memory_->add(*region, message.descriptors.front()) : memory_->remove(*region);
  Result<void> settled = co_await settle_all();
  if (!changed) co_return fail(changed.error());
  if (!settled) co_return fail(settled.error());
  co_return Reply();
}

Connection::Done Connection::get_config(const Message& message) {
  const Result<ConfigPart> wanted = message.body().config();
  if (!wanted) co_return fail(wanted.error());
  Reply reply;
  const uint64_t end = uint64_t{wanted->offset} + wanted->size;
  if (end > kMostConfig) {
    reply.bytes = Bytes();  // the protocol's way to say so
    co_return reply;
  }
  // Fields that we do not have are zero.
  std::array<std::byte, kMostConfig> space = {};
  std::ranges::copy(device_.config(), space.begin());
  ConfigPart part = *wanted;
  part.bytes = std::span(space).subspan(wanted->offset, wanted->size);
  reply.bytes = encode_config(part);
  co_return reply;
}

Connection::Done Connection::set_config(const Message& message) {
  const Result<ConfigPart> part = message.body().config();
  if (!part) co_return fail(part.error());
  const Result<void> changed = device_.set_config(*part);
  // A guest may write anywhere; that is no reason to part from its machine.
  const bool told = has(ProtocolFeature::kReplyAck) && message.header.wants_reply();
  if (!changed && told) co_return fail(changed.error());
  co_return Reply();
}

Connection::Done Connection::get_in_flight(const Message& message) {
  const Result<InFlightArea> wanted = message.body().in_flight();
  if (!wanted) co_return fail(wanted.error());
  if (wanted->queues == 0 || wanted->queues > rings_.size() ||
      !is_power_of_two(wanted->queue_size) || wanted->queue_size > SplitRing::kMostEntries) {
    co_return fail(refused(
        message.header, fmt::format("is for {} queues of {}", wanted->queues, wanted->queue_size)));
  }
  InFlightArea area = *wanted;
  area.offset = 0;
  area.size = area.queues * InFlightLog::size_for(area.queue_size);
  auto made = SharedMemory::create("vhost-user-in-flight", area.size);
  if (!made) co_return fail(made.error());
  Reply reply;
  reply.bytes = encode_in_flight(area);
  reply.bytes->resize(message.payload.size());  // padded as the question was
  reply.descriptor = std::move(made->second);
  co_return reply;
}

Connection::Done Connection::set_in_flight(const Message& message) {
  const Result<InFlightArea> area = message.body().in_flight();
  if (!area) co_return fail(area.error());
  const bool fits = is_power_of_two(area->queue_size) &&
                    area->queue_size <= SplitRing::kMostEntries && area->queues <= rings_.size() &&
                    area->size >= area->queues * InFlightLog::size_for(area->queue_size);
  if (!fits) {
    co_return fail(
        refused(message.header, fmt::format("is for {} queues of {} in {:#x} bytes", area->queues,
                                            area->queue_size, area->size)));
  }
  const ByteRange part(area->offset, area->size);
  Result<SharedMemory> mapped = SharedMemory::map(message.descriptors.front(), part);
  if (!mapped) co_return fail(mapped.error());
  co_await pause_all();
  in_flight_ = std::move(*mapped);
  in_flight_area_ = *area;
  Result<void> settled = co_await settle_all();
  if (!settled) co_return fail(settled.error());
  co_return Reply();
}

Connection::Done Connection::set_status(const Message& message) {
  const Result<uint64_t> status = message.body().number();
  if (!status) co_return fail(status.error());
  status_ = *status & 0xff;
  if (status_ == 0) co_return co_await reset();
  co_return Reply();
}

/// Back to where a driver starts. Memory stays mapped: it is the client's, not the driver's.
Connection::Done Connection::reset() {
  co_await pause_all();
  for (Ring& ring : rings_) {
    ring.size = 0;
    ring.base = 0;
    ring.addresses.reset();
    ring.has_kick = false;
    ring.enabled = false;
  }
  in_flight_.reset();  // of the rings as they were
  features_ = 0;
  status_ = 0;
  device_.reset();
  co_return Reply();
}

}  // namespace ashlar::vhost
