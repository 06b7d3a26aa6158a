// Fuzzes the reading of descriptor chains. The oracle is exact: a second reader, written the simple
// way, must agree on whether a chain is right, and on every byte of its buffers.
//
// Input: two numbers that shape the memory, then the descriptor table of the ring, then the rest of
// the guest's memory.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "base/endian.h"
#include "exports/vhost_user_blk/block_device.h"
#include "exports/vhost_user_blk/descriptor_chain.h"
#include "exports/vhost_user_blk/guest_memory.h"
#include "exports/vhost_user_blk/split_ring.h"

namespace {

using namespace ashlar;
using namespace ashlar::vhost;

constexpr uint16_t kRingSize = 8;
constexpr uint64_t kTableAt = 0;
constexpr uint64_t kAvailableAt = 128;
constexpr uint64_t kUsedAt = 256;
constexpr uint64_t kMemory = 16384;
constexpr uint64_t kUser = uint64_t{1} << 44;

void require(bool holds) {
  if (!holds) std::abort();
}

/// The guest's memory as the second reader sees it: pieces with a start each.
struct Guest {
  std::vector<Region> regions;
  std::vector<std::byte*> starts;

  std::byte* at(uint64_t address) const {
    for (size_t index = 0; index < regions.size(); ++index) {
      const uint64_t first = regions[index].guest_address;
      if (address >= first && address - first < regions[index].size) {
        return starts[index] + (address - first);
      }
    }
    return nullptr;
  }
};

struct Expected {
  std::vector<std::byte*> readable;
  std::vector<std::byte*> writable;
};

/// Byte by byte, with no care for speed. Empty: the chain is wrong.
std::optional<Expected> read_simply(const Guest& guest, uint16_t head, bool indirect_allowed) {
  Expected expected;
  uint64_t table = kTableAt;
  uint64_t entries = kRingSize;
  uint64_t left = kRingSize;
  bool inside = false;
  uint64_t index = head;
  while (true) {
    if (index >= entries || left-- == 0) return std::nullopt;
    std::byte raw[16];
    for (uint64_t byte = 0; byte < 16; ++byte) {
      const std::byte* from = guest.at(table + index * 16 + byte);
      if (from == nullptr) return std::nullopt;
      raw[byte] = *from;
    }
    const auto address = load_le<uint64_t>(raw);
    const auto length = load_le<uint32_t>(raw + 8);
    const auto flags = load_le<uint16_t>(raw + 12);
    if (length == 0 || address + length < address) return std::nullopt;
    if ((flags & 4) != 0) {
      if (!indirect_allowed || inside || (flags & 1) != 0 || length % 16 != 0) return std::nullopt;
      table = address;
      entries = length / 16;
      left = DescriptorChain::kMostDescriptors;
      inside = true;
      index = 0;
      continue;
    }
    if ((flags & 2) == 0 && !expected.writable.empty()) return std::nullopt;
    auto& into = (flags & 2) != 0 ? expected.writable : expected.readable;
    for (uint64_t byte = 0; byte < length; ++byte) {
      std::byte* found = guest.at(address + byte);
      if (found == nullptr) return std::nullopt;
      into.push_back(found);
    }
    if ((flags & 1) == 0) return expected;
    index = load_le<uint16_t>(raw + 14);
  }
}

template <typename Byte>
void require_same(Buffers<Byte> buffers, const std::vector<std::byte*>& expected) {
  size_t at = 0;
  buffers.for_each([&](std::span<Byte> part) {
    for (Byte& each : part) {
      require(at < expected.size() && &each == expected[at]);
      ++at;
    }
  });
  require(at == expected.size() && buffers.size() == at);
}

/// Two neighbours and one that stands alone: chains may go over the first border only.
std::vector<Region> shape(uint8_t first, uint8_t gap) {
  const uint64_t border = 4096 + uint64_t{first} * 16;
  std::vector<Region> regions(3);
  regions[0] = {.guest_address = 0, .size = border, .user_address = kUser, .file_offset = 0};
  regions[1] = {.guest_address = border,
                .size = 12288 - border,
                .user_address = kUser + (uint64_t{1} << 30),
                .file_offset = border};
  regions[2] = {.guest_address = 12289 + uint64_t{gap},
                .size = kMemory - 12288,
                .user_address = kUser + (uint64_t{1} << 31),
                .file_offset = 12288};
  return regions;
}

struct Device {
  const SplitRing& ring;
  const GuestMemory& memory;
};

void check_chain(const Device& device, const Guest& guest, uint16_t head,
                 DescriptorChain::Indirect indirect) {
  DescriptorChain chain;
  const Result<void> read = chain.read(device.ring, device.memory, head, indirect);
  const std::optional<Expected> expected =
      read_simply(guest, head, indirect == DescriptorChain::Indirect::kAllowed);
  require(bool(read) == expected.has_value());
  if (!read) return;
  require_same(chain.readable(), expected->readable);
  require_same(chain.writable(), expected->writable);
  const Result<BlockRequest> request = BlockRequest::decode(chain);
  require(bool(request) == (expected->readable.size() >= 16 && !expected->writable.empty()));
  if (request) require(request->status == expected->writable.back());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  auto made = SharedMemory::create("fuzz", kMemory);
  if (!made) return 0;
  const std::span<std::byte> bytes = made->first.bytes();
  std::memcpy(bytes.data(), data + 3, std::min<size_t>(size - 3, kMemory));
  GuestMemory memory;
  Guest guest;
  guest.regions = shape(data[0], data[1]);
  for (const Region& each : guest.regions) {
    require(bool(memory.add(each, made->second)));
    guest.starts.push_back(memory.at_user(each.user_address, each.size).data());
  }
  RingAddresses addresses;
  addresses.descriptors = kUser + kTableAt;
  addresses.available = kUser + kAvailableAt;
  addresses.used = kUser + kUsedAt;
  const Result<SplitRing> ring =
      SplitRing::open(memory, addresses, kRingSize, SplitRing::Events::kIndex);
  require(bool(ring));
  const auto indirect = (data[2] & 1) != 0 ? DescriptorChain::Indirect::kAllowed
                                           : DescriptorChain::Indirect::kRefused;
  for (uint16_t head = 0; head <= kRingSize; ++head)
    check_chain({*ring, memory}, guest, head, indirect);
  return 0;
}
