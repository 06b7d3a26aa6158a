// The last decompressed clusters: small sequential reads of one decode it once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace ashlar::qcow2 {

/// A few decoded clusters by host offset. Any loop.
class DecodedCache {
 public:
  using Cluster = std::shared_ptr<const std::vector<std::byte>>;

  Cluster find(uint64_t host_offset) {
    std::lock_guard guard(lock_);
    for (const Slot& slot : slots_) {
      if (slot.cluster && slot.host_offset == host_offset) return slot.cluster;
    }
    return nullptr;
  }
  /// To be read before the encoded bytes are.
  uint64_t generation() {
    std::lock_guard guard(lock_);
    return generation_;
  }
  void add(uint64_t host_offset, Cluster cluster, uint64_t generation) {
    std::lock_guard guard(lock_);
    if (generation != generation_) return;
    slots_[next_] = {host_offset, std::move(cluster)};
    next_ = (next_ + 1) % slots_.size();
  }
  /// Host clusters are about to be used for something else.
  void clear() {
    std::lock_guard guard(lock_);
    ++generation_;
    slots_ = {};
  }

 private:
  struct Slot {
    uint64_t host_offset = 0;
    Cluster cluster;
  };
  std::mutex lock_;
  std::array<Slot, 16> slots_;
  size_t next_ = 0;
  uint64_t generation_ = 0;
};

}  // namespace ashlar::qcow2
