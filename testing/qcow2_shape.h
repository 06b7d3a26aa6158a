// What a qcow2 image of a test is like: for those who lay one out by hand, and who say which it
// was.
#pragma once

#include <cstdint>
#include <string>

#include "ashlar/bytes.h"

namespace ashlar {

/// The choices that an image is made with.
struct Qcow2Shape {
  uint64_t size = 1_MiB;
  uint32_t version = 3;
  uint32_t cluster_bits = 16;
  uint32_t refcount_order = 4;
  enum class Entries : uint8_t { kStandard, kExtended } entries = Entries::kStandard;
  enum class Data : uint8_t { kInImage, kExternal, kRawExternal } data = Data::kInImage;
  enum class Backing : uint8_t { kNone, kNamed } backing = Backing::kNone;
  /// Clusters of the refcount table: how far the image can grow before the table has to.
  uint32_t refcount_table_clusters = 1;

  uint64_t cluster_size() const { return uint64_t{1} << cluster_bits; }
  bool extended() const { return entries == Entries::kExtended; }
  bool external() const { return data != Data::kInImage; }
  uint64_t entry_bytes() const { return extended() ? 16 : 8; }
  uint64_t l2_entries() const { return cluster_size() / entry_bytes(); }
  uint64_t l1_entries() const {
    const uint64_t covers = cluster_size() * l2_entries();
    return (size + covers - 1) / covers;
  }
  /// "version 3, clusters of 512, 16-bit refcounts, extended entries, 1048576 bytes ..."
  std::string describe() const;
};

}  // namespace ashlar
