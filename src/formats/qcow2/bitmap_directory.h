// The directory of persistent bitmaps and their tables: decoding with limits, encoding.
// Specification: docs/interop/qcow2.rst, "Bitmaps".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/l2_entry.h"

namespace ashlar::qcow2 {

inline constexpr uint64_t kBitmapEntryBytes = 24;  // without the name
inline constexpr size_t kMaxBitmapName = 1023;
inline constexpr uint8_t kMinBitmapGranularityBits = 9;
inline constexpr uint8_t kMaxBitmapGranularityBits = 31;
/// Of the data of one bitmap, the limit of the peer.
inline constexpr uint64_t kMaxBitmapBytes = 512_MiB;
inline constexpr uint8_t kDirtyTrackingBitmap = 1;

namespace bitmap_flag {
inline constexpr uint32_t kInUse = 1 << 0;  ///< not saved correctly
inline constexpr uint32_t kAuto = 1 << 1;   ///< enabled: tracks writes
}  // namespace bitmap_flag

/// One entry of the directory.
struct BitmapEntry {
  uint64_t table_offset = 0;
  uint32_t table_size = 0;  ///< entries
  uint32_t flags = 0;
  uint8_t type = kDirtyTrackingBitmap;
  uint8_t granularity_bits = 16;
  std::string name;

  bool operator==(const BitmapEntry&) const = default;
  bool in_use() const { return flags & bitmap_flag::kInUse; }
  bool is_auto() const { return flags & bitmap_flag::kAuto; }
  uint64_t table_bytes() const { return uint64_t{table_size} * 8; }
};

/// An entry of a bitmap's table.
struct BitmapTableEntry {
  uint64_t raw = 0;

  /// Of the cluster with the bits; 0: all bits are all_ones().
  constexpr uint64_t offset() const { return raw & kOffsetMask; }
  constexpr bool all_ones() const { return offset() == 0 && (raw & 1); }
  constexpr bool is_valid(uint64_t cluster_size) const {
    const uint64_t used = kOffsetMask | (offset() == 0 ? 1 : 0);
    return !(raw & ~used) && is_aligned(offset(), cluster_size);
  }
};

/// Clusters that the data of a bitmap needs, so entries of its table.
uint64_t bitmap_clusters(const Header& header, uint8_t granularity_bits);

/// Reads the directory of header.valid_bitmaps(); empty when there is none.
/// Errors: kCorrupt, kUnsupported with a "qcow2-bitmap..." reason; what the file gives.
Task<Result<std::vector<BitmapEntry>>> read_bitmap_directory(Child& file, const Header& header);

/// Whether the tables of all bitmaps that are not in use are well-formed and have the right size.
/// Errors: kCorrupt (reasons "qcow2-bitmap-size", "qcow2-bitmap-table").
Task<Result<void>> check_bitmap_tables(Child& file, const Header& header,
                                       std::span<const BitmapEntry> bitmaps);

/// The directory as written to the file.
/// Errors: kTooLarge (reason "qcow2-bitmaps-directory-size"), kInvalidArgument
/// ("qcow2-bitmap-constraints").
Result<std::vector<std::byte>> encode_bitmap_directory(const Header& header,
                                                       std::span<const BitmapEntry> bitmaps);

}  // namespace ashlar::qcow2
