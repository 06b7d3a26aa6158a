// Mapping regions of guest memory, and finding addresses in them.
#include "exports/vhost_user_blk/guest_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "ashlar/bytes.h"

namespace ashlar::vhost {
namespace {

Error bad_region(const Region& region, std::string_view what) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("a memory region of {:#x} bytes at {:#x} {}", region.size,
                           region.guest_address, what))
      .because("vhost-region");
}

ByteRange guest_range(const Region& region) { return {region.guest_address, region.size}; }
ByteRange user_range(const Region& region) { return {region.user_address, region.size}; }

}  // namespace

Result<void> GuestMemory::add(const Region& region, const OwnedDescriptor& file) {
  if (regions_.size() >= kMostRegions) {
    return fail(Error(ErrorCode::kTooLarge,
                      fmt::format("{} memory regions are mapped already", kMostRegions))
                    .because("vhost-regions"));
  }
  const ByteRange in_file(region.file_offset, region.size);
  if (region.size == 0) return fail(bad_region(region, "is empty"));
  if (guest_range(region).wraps() || user_range(region).wraps() || in_file.wraps()) {
    return fail(bad_region(region, "wraps around"));
  }
  for (const Mapped& other : regions_) {
    if (guest_range(other.region).overlaps(guest_range(region)) ||
        user_range(other.region).overlaps(user_range(region))) {
      return fail(
          bad_region(region, fmt::format("overlaps the one at {:#x}", other.region.guest_address)));
    }
  }
  Result<SharedMemory> memory = SharedMemory::map(file, in_file);
  if (!memory) return fail(memory.error());
  const auto place =
      std::ranges::upper_bound(regions_, region.guest_address, {},
                               [](const Mapped& mapped) { return mapped.region.guest_address; });
  regions_.insert(place, Mapped{region, std::move(*memory)});
  return ok();
}

Result<void> GuestMemory::remove(const Region& region) {
  const auto found = std::ranges::find_if(regions_, [&region](const Mapped& mapped) {
    return guest_range(mapped.region) == guest_range(region) &&
           user_range(mapped.region) == user_range(region);
  });
  if (found == regions_.end()) {
    return fail(Error(ErrorCode::kNotFound,
                      fmt::format("no memory region of {:#x} bytes at {:#x} is mapped", region.size,
                                  region.guest_address))
                    .because("vhost-region"));
  }
  regions_.erase(found);
  return ok();
}

std::span<std::byte> GuestMemory::at_guest(uint64_t address, uint64_t most) const noexcept {
  auto after = std::ranges::upper_bound(
      regions_, address, {}, [](const Mapped& mapped) { return mapped.region.guest_address; });
  if (after == regions_.begin()) return {};
  const Mapped& mapped = *--after;
  const uint64_t inside = address - mapped.region.guest_address;
  if (inside >= mapped.region.size) return {};
  return mapped.memory.bytes().subspan(inside, std::min(most, mapped.region.size - inside));
}

std::span<std::byte> GuestMemory::at_user(uint64_t address, uint64_t length) const noexcept {
  const ByteRange wanted(address, length);
  if (wanted.empty() || wanted.wraps()) return {};
  for (const Mapped& mapped : regions_) {
    if (!user_range(mapped.region).contains(wanted)) continue;
    return mapped.memory.bytes().subspan(address - mapped.region.user_address, length);
  }
  return {};
}

bool GuestMemory::broken() const noexcept {
  return std::ranges::any_of(regions_, [](const Mapped& mapped) { return mapped.memory.broken(); });
}

}  // namespace ashlar::vhost
