// Which host clusters hold metadata.
#include "formats/qcow2/metadata_ranges.h"

namespace ashlar::qcow2 {

void MetadataRanges::add(ByteRange range, const char* what) {
  if (range.empty()) return;
  std::lock_guard guard(lock_);
  for (uint64_t at = first_cluster(range); at <= last_cluster(range); ++at) clusters_[at] = what;
}

void MetadataRanges::remove(ByteRange range) {
  if (range.empty()) return;
  std::lock_guard guard(lock_);
  for (uint64_t at = first_cluster(range); at <= last_cluster(range); ++at) clusters_.erase(at);
}

const char* MetadataRanges::find(ByteRange range) const noexcept {
  if (range.empty()) return nullptr;
  std::lock_guard guard(lock_);
  for (uint64_t at = first_cluster(range); at <= last_cluster(range); ++at) {
    auto found = clusters_.find(at);
    if (found != clusters_.end()) return found->second;
  }
  return nullptr;
}

}  // namespace ashlar::qcow2
