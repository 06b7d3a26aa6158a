// Messages of the vhost-user protocol: numbers, layouts, and reading them from bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "ashlar/error.h"

namespace ashlar::vhost {

/// What a frontend asks for (the "front-end message types" of the protocol).
enum class Request : uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kResetOwner = 4,
  kSetMemoryTable = 5,
  kSetRingSize = 8,
  kSetRingAddresses = 9,
  kSetRingBase = 10,
  kGetRingBase = 11,
  kSetRingKick = 12,
  kSetRingCall = 13,
  kSetRingError = 14,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueCount = 17,
  kSetRingEnable = 18,
  kSetBackendChannel = 21,
  kGetConfig = 24,
  kSetConfig = 25,
  kGetInFlight = 31,
  kSetInFlight = 32,
  kResetDevice = 34,
  kGetMostMemoryRegions = 36,
  kAddMemoryRegion = 37,
  kRemoveMemoryRegion = 38,
  kSetStatus = 39,
  kGetStatus = 40,
};
/// What we ask a frontend for, on the backend channel.
enum class BackendRequest : uint32_t { kConfigChanged = 2 };

/// Bit numbers of features that belong to the transport; those of the device are in device.h.
inline constexpr unsigned kRingIndirect = 28;
inline constexpr unsigned kRingEventIndex = 29;
inline constexpr unsigned kProtocolFeatures = 30;
inline constexpr unsigned kVersion1 = 32;

/// Bit numbers of protocol features.
enum class ProtocolFeature : uint8_t {
  kMultiQueue = 0,
  kReplyAck = 3,
  kBackendRequests = 5,
  kConfig = 9,
  kInFlight = 12,
  kResetDevice = 13,
  kMemorySlots = 15,
  kStatus = 16,
};

constexpr uint64_t bit(unsigned number) { return uint64_t{1} << number; }
constexpr uint64_t bit(ProtocolFeature feature) { return bit(static_cast<unsigned>(feature)); }

/// The first bytes of every message.
struct Header {
  static constexpr size_t kSize = 12;
  static constexpr uint32_t kVersion = 1;
  static constexpr uint32_t kVersionBits = 3;
  static constexpr uint32_t kReply = 4;
  static constexpr uint32_t kNeedReply = 8;

  uint32_t request = 0;
  uint32_t flags = 0;
  uint32_t size = 0;

  bool wants_reply() const { return (flags & kNeedReply) != 0; }
  static Header decode(std::span<const std::byte, kSize> bytes);
  std::array<std::byte, kSize> encode() const;
};

/// The longest payload of all requests that we know.
inline constexpr size_t kMostPayload = 512;
/// Most descriptors of one message: a memory table has eight regions.
inline constexpr size_t kMostDescriptors = 8;
/// Most bytes of a device's config space.
inline constexpr size_t kMostConfig = 256;

struct RingState {
  uint32_t index = 0;
  uint32_t number = 0;
};
struct RingAddresses {
  uint32_t index = 0;
  uint32_t flags = 0;
  uint64_t descriptors = 0;
  uint64_t used = 0;
  uint64_t available = 0;
};
/// Which ring an event descriptor is for, and whether there is one.
struct RingEvent {
  uint32_t index = 0;
  bool has_descriptor = true;
};
struct Region {
  uint64_t guest_address = 0;
  uint64_t size = 0;
  uint64_t user_address = 0;
  uint64_t file_offset = 0;
};
struct ConfigPart {
  static constexpr size_t kHeaderSize = 12;
  uint32_t offset = 0;
  uint32_t size = 0;
  uint32_t flags = 0;
  std::span<const std::byte> bytes;
};
struct InFlightArea {
  static constexpr size_t kSize = 24;
  uint64_t size = 0;
  uint64_t offset = 0;
  uint16_t queues = 0;
  uint16_t queue_size = 0;
};

/// A payload as it came, and what it is. Each decoder demands the exact length.
/// Errors: kInvalidArgument, reason "vhost-payload".
class Payload {
 public:
  explicit Payload(std::span<const std::byte> bytes) : bytes_(bytes) {}

  Result<void> nothing() const;
  Result<uint64_t> number() const;
  Result<RingState> ring_state() const;
  Result<RingAddresses> ring_addresses() const;
  Result<RingEvent> ring_event() const;
  /// One to eight regions.
  Result<std::vector<Region>> memory_table() const;
  Result<Region> memory_region() const;
  /// `size` and the bytes that came agree.
  Result<ConfigPart> config() const;
  Result<InFlightArea> in_flight() const;

 private:
  Result<void> demand(size_t size) const;
  std::span<const std::byte> bytes_;
};

using Bytes = std::vector<std::byte>;
Bytes encode_number(uint64_t value);
Bytes encode_ring_state(RingState state);
Bytes encode_ring_addresses(const RingAddresses& addresses);
Bytes encode_ring_event(RingEvent event);
Bytes encode_memory_table(std::span<const Region> regions);
Bytes encode_memory_region(const Region& region);
Bytes encode_config(const ConfigPart& part);
Bytes encode_in_flight(const InFlightArea& area);

}  // namespace ashlar::vhost
