// Which host clusters hold metadata: no guest data and no second table may ever be written there.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "ashlar/bytes.h"

namespace ashlar::qcow2 {

/// The set of metadata clusters of one image. Cannot be switched off. Any loop.
class MetadataRanges {
 public:
  explicit MetadataRanges(unsigned cluster_bits) : cluster_bits_(cluster_bits) {}

  /// `range` is in host bytes; whole clusters around it are taken. `what` names the structure in
  /// messages and is a literal.
  void add(ByteRange range, const char* what);
  void remove(ByteRange range);
  /// What lives in the clusters of `range`; null: no metadata.
  const char* find(ByteRange range) const noexcept;

 private:
  uint64_t first_cluster(ByteRange range) const { return range.offset >> cluster_bits_; }
  uint64_t last_cluster(ByteRange range) const { return (range.end() - 1) >> cluster_bits_; }

  unsigned cluster_bits_;
  mutable std::mutex lock_;
  std::unordered_map<uint64_t, const char*> clusters_;
};

}  // namespace ashlar::qcow2
