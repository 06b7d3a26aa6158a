// How often each host cluster is referenced.
#include "formats/qcow2/reference_counts.h"

namespace ashlar::qcow2 {

uint16_t* ReferenceCounts::make(uint64_t index) {
  constexpr uint64_t kPieceBytes = kPiece * sizeof(uint16_t);
  const uint64_t list_bytes = index >= pieces_.size() ? (index + 1) * sizeof(void*) : 0;
  if (bytes_ + kPieceBytes > kMaxBytes || list_bytes > kMaxBytes / 4) return nullptr;
  if (index >= pieces_.size()) pieces_.resize(index + 1);
  pieces_[index] = std::make_unique<uint16_t[]>(kPiece);
  bytes_ += kPieceBytes;
  return pieces_[index].get();
}

ReferenceCounts::Added ReferenceCounts::add_to_large(uint16_t& count, uint64_t cluster,
                                                     uint64_t times) {
  const uint64_t before = count < kEscape ? count : large_.find(cluster)->second;
  const bool fits = times <= most_ - before;
  const uint64_t after = fits ? before + times : most_;
  if (after < kEscape) {
    count = static_cast<uint16_t>(after);
  } else {
    count = kEscape;
    large_[cluster] = after;
  }
  return fits ? Added::kYes : Added::kAtMost;
}

}  // namespace ashlar::qcow2
