// Walking a chain of descriptors, with a limit for everything.
#include "exports/vhost_user_blk/descriptor_chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace ashlar::vhost {
namespace {

/// Segments of a chain: a buffer may reach over regions that are neighbours.
constexpr size_t kMostSegments = 2 * DescriptorChain::kMostDescriptors;

Error bad_chain(std::string what) {
  return Error(ErrorCode::kInvalidArgument, std::move(what)).because("vhost-chain");
}

}  // namespace

/// Where the descriptors come from: the ring's own table, then at most one other.
struct DescriptorChain::Walk {
  const SplitRing& ring;
  const GuestMemory& memory;
  size_t most;  // descriptors, so that a loop ends
  size_t seen = 0;
  uint64_t table = 0;  // of the guest, when in another table
  uint32_t entries = 0;

  bool inside_table() const { return entries != 0; }
  Result<Descriptor> get(uint16_t index) const;
  Result<void> enter(const Descriptor& descriptor, Indirect indirect);
};

Result<Descriptor> DescriptorChain::Walk::get(uint16_t index) const {
  const uint32_t limit = inside_table() ? entries : ring.size();
  if (index >= limit) {
    return fail(bad_chain(fmt::format("descriptor {} of a table of {}", index, limit)));
  }
  if (!inside_table()) return ring.descriptor(index);
  std::array<std::byte, Descriptor::kSize> copy;
  const uint64_t address =
      table + index * Descriptor::kSize;  // inside a 32-bit length, see enter()
  size_t copied = 0;
  while (copied < copy.size()) {
    const std::span<std::byte> part = memory.at_guest(address + copied, copy.size() - copied);
    if (part.empty()) {
      return fail(bad_chain(fmt::format("a table at {:#x} is not in the guest's memory", address)));
    }
    std::ranges::copy(part, copy.begin() + static_cast<ptrdiff_t>(copied));
    copied += part.size();
  }
  return Descriptor::load(copy);
}

Result<void> DescriptorChain::Walk::enter(const Descriptor& descriptor, Indirect indirect) {
  const bool whole = descriptor.length != 0 && descriptor.length % Descriptor::kSize == 0;
  if (indirect == Indirect::kRefused || inside_table() || descriptor.has_next() || !whole ||
      ByteRange(descriptor.address, descriptor.length).wraps()) {
    return fail(bad_chain(fmt::format("a table of {} bytes at {:#x} where none can be",
                                      descriptor.length, descriptor.address)));
  }
  table = descriptor.address;
  entries = descriptor.length / Descriptor::kSize;
  most = kMostDescriptors;
  seen = 0;
  return ok();
}

Result<void> DescriptorChain::read(const SplitRing& ring, const GuestMemory& memory, uint16_t head,
                                   Indirect indirect) {
  segments_.clear();
  readable_count_ = 0;
  readable_size_ = 0;
  writable_size_ = 0;
  Walk walk = {.ring = ring, .memory = memory, .most = ring.size()};
  uint16_t index = head;
  while (true) {
    const Result<Descriptor> descriptor = walk.get(index);
    if (!descriptor) return fail(descriptor.error());
    if (walk.seen++ == walk.most) {
      return fail(bad_chain(fmt::format("more than {} descriptors in a chain", walk.most)));
    }
    if (descriptor->indirect()) {
      if (Result<void> entered = walk.enter(*descriptor, indirect); !entered) return entered;
      index = 0;
      continue;
    }
    if (Result<void> added = add(*descriptor, memory); !added) return added;
    if (!descriptor->has_next()) return ok();
    index = descriptor->next;
  }
}

Result<void> DescriptorChain::add(const Descriptor& descriptor, const GuestMemory& memory) {
  if (descriptor.length == 0) return fail(bad_chain("a buffer of no bytes"));
  if (ByteRange(descriptor.address, descriptor.length).wraps()) {
    return fail(bad_chain(fmt::format("a buffer of {:#x} bytes at {:#x} wraps around",
                                      descriptor.length, descriptor.address)));
  }
  if (!descriptor.writable() && writable_size_ != 0) {
    return fail(bad_chain("a buffer to read behind one to write"));
  }
  uint64_t left = descriptor.length;
  while (left != 0) {
    const uint64_t address = descriptor.address + (descriptor.length - left);
    const std::span<std::byte> part = memory.at_guest(address, left);
    if (part.empty()) {
      return fail(
          bad_chain(fmt::format("a buffer of {:#x} bytes at {:#x} is not in the guest's "
                                "memory",
                                descriptor.length, descriptor.address)));
    }
    if (segments_.size() == kMostSegments) {
      return fail(bad_chain(fmt::format("more than {} pieces in a chain", kMostSegments)));
    }
    segments_.push_back(part);
    left -= part.size();
  }
  if (descriptor.writable()) {
    writable_size_ += descriptor.length;
  } else {
    readable_size_ += descriptor.length;
    readable_count_ = segments_.size();
  }
  return ok();
}

}  // namespace ashlar::vhost
