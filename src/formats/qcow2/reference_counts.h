// How often each host cluster is referenced: counted while an image is checked.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "ashlar/bytes.h"

namespace ashlar::qcow2 {

/// Counters in pieces that exist once they are touched: two bytes per cluster, more only for the
/// few that need it. Growing past kMaxBytes is refused, so that no image decides about memory.
class ReferenceCounts {
 public:
  static constexpr uint64_t kMaxBytes = 1_GiB;

  /// No counter goes above `most`, the largest refcount that the image can store.
  ReferenceCounts(uint64_t clusters, uint64_t most) : clusters_(clusters), most_(most) {}

  /// One past the last cluster of the image; grows with what is counted past it.
  uint64_t clusters() const { return clusters_; }

  enum class Added : uint8_t { kYes, kAtMost, kNoMemory };
  Added add(uint64_t cluster, uint64_t times = 1) {
    if (cluster >= clusters_) clusters_ = cluster + 1;
    uint16_t* const piece = touch(cluster / kPiece);
    if (piece == nullptr) return Added::kNoMemory;
    uint16_t& count = piece[cluster % kPiece];
    if (times < uint64_t{kEscape} - count && times <= most_ - count) {
      count = static_cast<uint16_t>(count + times);
      return Added::kYes;
    }
    return add_to_large(count, cluster, times);
  }
  uint64_t get(uint64_t cluster) const {
    const uint64_t index = cluster / kPiece;
    if (index >= pieces_.size() || pieces_[index] == nullptr) return 0;
    const uint16_t count = pieces_[index][cluster % kPiece];
    return count < kEscape ? count : large_.find(cluster)->second;
  }
  /// The counters from `first` on that are in one piece; empty where they are all 0. A counter of
  /// kManyReferences stands for that many or more.
  static constexpr uint16_t kManyReferences = std::numeric_limits<uint16_t>::max();
  std::span<const uint16_t> piece_from(uint64_t first) const {
    const uint64_t index = first / kPiece;
    if (index >= pieces_.size() || pieces_[index] == nullptr) return {};
    return std::span(pieces_[index].get(), kPiece).subspan(first % kPiece);
  }
  /// Whether all of a piece of clusters is known to be 0; then `first` is set past it.
  bool skip_untouched(uint64_t& first) const {
    const uint64_t index = first / kPiece;
    if (index < pieces_.size() && pieces_[index] != nullptr) return false;
    first = (index + 1) * kPiece;
    return true;
  }

 private:
  static constexpr uint64_t kPiece = uint64_t{1} << 16;
  static constexpr uint16_t kEscape = kManyReferences;  // the count is in large_

  uint16_t* touch(uint64_t index) {
    if (index < pieces_.size() && pieces_[index] != nullptr) return pieces_[index].get();
    return make(index);
  }
  uint16_t* make(uint64_t index);
  Added add_to_large(uint16_t& count, uint64_t cluster, uint64_t times);

  uint64_t clusters_;
  uint64_t most_;
  uint64_t bytes_ = 0;
  std::vector<std::unique_ptr<uint16_t[]>> pieces_;
  std::unordered_map<uint64_t, uint64_t> large_;
};

}  // namespace ashlar::qcow2
