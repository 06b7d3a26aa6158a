// A small driver for split virtqueues.
#include "testing/guest_ring.h"

#include <algorithm>
#include <atomic>

#include "base/endian.h"

namespace ashlar::vhost {
namespace {

std::atomic_ref<uint16_t> shared(std::span<std::byte> bytes) {
  return std::atomic_ref(*reinterpret_cast<uint16_t*>(bytes.data()));
}

}  // namespace

GuestRing::GuestRing(const Setup& setup) : setup_(setup), chains_(setup.size) {
  for (uint16_t index = 0; index < setup_.size; ++index) free_.push_back(index);
  std::ranges::fill(at(setup_.base, size_for(setup_.size)), std::byte{0});
}

size_t GuestRing::free_chains() const {
  return static_cast<size_t>(
      std::ranges::count_if(chains_, [](const auto& chain) { return chain.empty(); }));
}

void GuestRing::store_descriptor(std::span<std::byte> to, const Descriptor& descriptor) {
  store_le<uint64_t>(to.data(), descriptor.address);
  store_le<uint32_t>(to.data() + 8, descriptor.length);
  store_le<uint16_t>(to.data() + 12, descriptor.flags);
  store_le<uint16_t>(to.data() + 14, descriptor.next);
}

void GuestRing::set_descriptor(uint16_t index, const Descriptor& descriptor) {
  store_descriptor(at(descriptors_at() + index * uint64_t{16}, 16), descriptor);
}

void GuestRing::set_head(uint16_t position, uint16_t head) {
  shared(at(available_at() + 4 + uint64_t{2} * (position % setup_.size), 2)).store(head);
}

void GuestRing::set_available_index(uint16_t index) {
  available_ = index;
  shared(at(available_at() + 2, 2)).store(index, std::memory_order_release);
}

uint16_t GuestRing::used_index() const {
  return shared(at(used_at() + 2, 2)).load(std::memory_order_acquire);
}

std::optional<uint16_t> GuestRing::offer(std::span<const Buffer> buffers,
                                         std::optional<uint64_t> table_at) {
  const size_t needed = table_at ? 1 : buffers.size();
  if (needed > free_.size()) return std::nullopt;
  std::vector<uint16_t> chain(free_.begin(), free_.begin() + static_cast<ptrdiff_t>(needed));
  free_.erase(free_.begin(), free_.begin() + static_cast<ptrdiff_t>(needed));
  for (size_t index = 0; index < buffers.size(); ++index) {
    const bool last = index + 1 == buffers.size();
    Descriptor descriptor;
    descriptor.address = buffers[index].address;
    descriptor.length = buffers[index].length;
    descriptor.flags = static_cast<uint16_t>((buffers[index].writable ? Descriptor::kWrite : 0) |
                                             (last ? 0 : Descriptor::kNext));
    if (!last) descriptor.next = static_cast<uint16_t>(table_at ? index + 1 : chain[index + 1]);
    if (table_at) {
      store_descriptor(at(*table_at + index * 16, 16), descriptor);
    } else {
      set_descriptor(chain[index], descriptor);
    }
  }
  if (table_at) {
    Descriptor table;
    table.address = *table_at;
    table.length = static_cast<uint32_t>(buffers.size() * 16);
    table.flags = Descriptor::kIndirect;
    set_descriptor(chain[0], table);
  }
  const uint16_t head = chain[0];
  chains_[head] = std::move(chain);
  set_head(available_, head);
  set_available_index(static_cast<uint16_t>(available_ + 1));
  return head;
}

bool GuestRing::device_wants_kick() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint16_t before = std::exchange(kicked_, available_);
  if (setup_.events == SplitRing::Events::kFlags) {
    return (shared(at(used_at(), 2)).load() & 1) == 0;
  }
  const uint16_t event = shared(at(used_at() + 4 + 8 * uint64_t{setup_.size}, 2)).load();
  return static_cast<uint16_t>(available_ - event - 1) < static_cast<uint16_t>(available_ - before);
}

std::optional<GuestRing::Used> GuestRing::take_used() {
  if (used_index() == taken_) return std::nullopt;
  const std::span<std::byte> entry = at(used_at() + 4 + uint64_t{8} * (taken_++ % setup_.size), 8);
  Used used;
  used.head = static_cast<uint16_t>(load_le<uint32_t>(entry.data()));
  used.length = load_le<uint32_t>(entry.data() + 4);
  std::vector<uint16_t>& chain = chains_.at(used.head);
  free_.insert(free_.end(), chain.begin(), chain.end());
  chain.clear();
  return used;
}

bool GuestRing::ask_for_call() {
  if (setup_.events == SplitRing::Events::kIndex) {
    shared(at(available_at() + 4 + 2 * uint64_t{setup_.size}, 2)).store(taken_);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  return used_index() == taken_;
}

}  // namespace ashlar::vhost
