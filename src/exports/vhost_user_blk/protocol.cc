// Messages of the vhost-user protocol, from bytes and to bytes. Numbers are in the machine's order:
// both sides run on it.
#include "exports/vhost_user_blk/protocol.h"

#include <fmt/format.h>

#include <cstring>

namespace ashlar::vhost {
namespace {

constexpr uint64_t kRingIndexBits = 0xff;
constexpr uint64_t kNoDescriptor = 0x100;
constexpr size_t kRegionSize = 32;
constexpr size_t kTableHeaderSize = 8;
constexpr size_t kSingleRegionHeaderSize = 8;

template <typename T>
T load(std::span<const std::byte> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.subspan(offset, sizeof value).data(), sizeof value);
  return value;
}

/// Appends values one after the other.
class Writer {
 public:
  template <typename T>
  Writer& add(T value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Writer& add(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Writer& add(const Region& region) {
    return add(region.guest_address)
        .add(region.size)
        .add(region.user_address)
        .add(region.file_offset);
  }
  Bytes take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

Region load_region(std::span<const std::byte> bytes, size_t offset) {
  Region region;
  region.guest_address = load<uint64_t>(bytes, offset);
  region.size = load<uint64_t>(bytes, offset + 8);
  region.user_address = load<uint64_t>(bytes, offset + 16);
  region.file_offset = load<uint64_t>(bytes, offset + 24);
  return region;
}

Error wrong_payload(size_t size, std::string_view allowed) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("a payload of {} bytes, where {} are due", size, allowed))
      .because("vhost-payload");
}

}  // namespace

Header Header::decode(std::span<const std::byte, kSize> bytes) {
  Header header;
  header.request = load<uint32_t>(bytes, 0);
  header.flags = load<uint32_t>(bytes, 4);
  header.size = load<uint32_t>(bytes, 8);
  return header;
}

std::array<std::byte, Header::kSize> Header::encode() const {
  std::array<std::byte, kSize> bytes;
  std::memcpy(bytes.data(), &request, sizeof request);
  std::memcpy(bytes.data() + 4, &flags, sizeof flags);
  std::memcpy(bytes.data() + 8, &size, sizeof size);
  return bytes;
}

Result<void> Payload::demand(size_t size) const {
  if (bytes_.size() == size) return ok();
  return fail(wrong_payload(bytes_.size(), std::to_string(size)));
}

Result<void> Payload::nothing() const { return demand(0); }

Result<uint64_t> Payload::number() const {
  if (Result<void> fits = demand(8); !fits) return fail(fits.error());
  return load<uint64_t>(bytes_, 0);
}

Result<RingState> Payload::ring_state() const {
  if (Result<void> fits = demand(8); !fits) return fail(fits.error());
  return RingState{.index = load<uint32_t>(bytes_, 0), .number = load<uint32_t>(bytes_, 4)};
}

Result<RingAddresses> Payload::ring_addresses() const {
  if (Result<void> fits = demand(40); !fits) return fail(fits.error());
  RingAddresses addresses;
  addresses.index = load<uint32_t>(bytes_, 0);
  addresses.flags = load<uint32_t>(bytes_, 4);
  addresses.descriptors = load<uint64_t>(bytes_, 8);
  addresses.used = load<uint64_t>(bytes_, 16);
  addresses.available = load<uint64_t>(bytes_, 24);
  return addresses;
}

Result<RingEvent> Payload::ring_event() const {
  const Result<uint64_t> value = number();
  if (!value) return fail(value.error());
  RingEvent event;
  event.index = static_cast<uint32_t>(*value & kRingIndexBits);
  event.has_descriptor = (*value & kNoDescriptor) == 0;
  return event;
}

Result<std::vector<Region>> Payload::memory_table() const {
  if (bytes_.size() < kTableHeaderSize) return fail(wrong_payload(bytes_.size(), "at least 8"));
  const auto count = load<uint32_t>(bytes_, 0);
  if (count == 0 || count > kMostDescriptors) {
    return fail(
        Error(ErrorCode::kInvalidArgument,
              fmt::format("a memory table has 1 to {} regions, not {}", kMostDescriptors, count))
            .because("vhost-payload"));
  }
  // Some frontends always send the whole table.
  const size_t used = kTableHeaderSize + count * kRegionSize;
  const size_t whole = kTableHeaderSize + kMostDescriptors * kRegionSize;
  if (bytes_.size() != used && bytes_.size() != whole) {
    return fail(wrong_payload(bytes_.size(), std::to_string(used)));
  }
  std::vector<Region> regions;
  regions.reserve(count);
  for (uint32_t index = 0; index < count; ++index) {
    regions.push_back(load_region(bytes_, kTableHeaderSize + index * kRegionSize));
  }
  return regions;
}

Result<Region> Payload::memory_region() const {
  constexpr size_t kSize = kSingleRegionHeaderSize + kRegionSize;
  if (Result<void> fits = demand(kSize); !fits) return fail(fits.error());
  return load_region(bytes_, kSingleRegionHeaderSize);
}

Result<ConfigPart> Payload::config() const {
  if (bytes_.size() < ConfigPart::kHeaderSize) {
    return fail(wrong_payload(bytes_.size(), "at least 12"));
  }
  ConfigPart part;
  part.offset = load<uint32_t>(bytes_, 0);
  part.size = load<uint32_t>(bytes_, 4);
  part.flags = load<uint32_t>(bytes_, 8);
  part.bytes = bytes_.subspan(ConfigPart::kHeaderSize);
  if (part.size != part.bytes.size()) {
    return fail(wrong_payload(part.bytes.size(), std::to_string(part.size)));
  }
  return part;
}

Result<InFlightArea> Payload::in_flight() const {
  // The last two numbers end the message in some frontends; others pad it.
  constexpr size_t kPacked = 20;
  if (bytes_.size() != kPacked && bytes_.size() != InFlightArea::kSize) {
    return fail(wrong_payload(bytes_.size(), "20 or 24"));
  }
  InFlightArea area;
  area.size = load<uint64_t>(bytes_, 0);
  area.offset = load<uint64_t>(bytes_, 8);
  area.queues = load<uint16_t>(bytes_, 16);
  area.queue_size = load<uint16_t>(bytes_, 18);
  return area;
}

Bytes encode_number(uint64_t value) { return Writer().add(value).take(); }

Bytes encode_ring_state(RingState state) {
  return Writer().add(state.index).add(state.number).take();
}

Bytes encode_ring_addresses(const RingAddresses& addresses) {
  return Writer()
      .add(addresses.index)
      .add(addresses.flags)
      .add(addresses.descriptors)
      .add(addresses.used)
      .add(addresses.available)
      .add(uint64_t{0})
      .take();
}

Bytes encode_ring_event(RingEvent event) {
  return encode_number(event.index | (event.has_descriptor ? 0 : kNoDescriptor));
}

Bytes encode_memory_table(std::span<const Region> regions) {
  Writer writer;
  writer.add(static_cast<uint32_t>(regions.size())).add(uint32_t{0});
  for (const Region& region : regions) writer.add(region);
  return writer.take();
}

Bytes encode_memory_region(const Region& region) {
  return Writer().add(uint64_t{0}).add(region).take();
}

Bytes encode_config(const ConfigPart& part) {
  return Writer().add(part.offset).add(part.size).add(part.flags).add(part.bytes).take();
}

Bytes encode_in_flight(const InFlightArea& area) {
  return Writer()
      .add(area.size)
      .add(area.offset)
      .add(area.queues)
      .add(area.queue_size)
      .add(uint32_t{0})
      .take();
}

}  // namespace ashlar::vhost
