// Entries of L1 and L2 tables as values: standard, compressed and extended ones.
// Specification: docs/interop/qcow2.rst, "Cluster mapping", "Extended L2 Entries".
#pragma once

#include <cstdint>
#include <optional>

namespace ashlar::qcow2 {

/// Bits 9-55: where tables and clusters can be.
inline constexpr uint64_t kOffsetMask = 0x00ff'ffff'ffff'fe00;
inline constexpr uint64_t kCopiedFlag = uint64_t{1} << 63;
inline constexpr uint64_t kCompressedFlag = uint64_t{1} << 62;
inline constexpr uint64_t kZeroFlag = 1;
inline constexpr unsigned kSubclusters = 32;

/// An L1 table entry.
struct L1Entry {
  uint64_t raw = 0;

  static constexpr L1Entry to(uint64_t l2_offset, uint64_t copied_flag) {
    return {(l2_offset & kOffsetMask) | (copied_flag & kCopiedFlag)};
  }
  /// Of the L2 table; 0: none.
  constexpr uint64_t offset() const { return raw & kOffsetMask; }
  constexpr bool copied() const { return raw & kCopiedFlag; }
  constexpr bool has_reserved_bits() const { return raw & ~(kOffsetMask | kCopiedFlag); }
  constexpr bool operator==(const L1Entry&) const = default;
};

/// What a cluster of the guest is. Extended entries are never kZero...: see SubclusterBitmap.
enum class ClusterKind : uint8_t {
  kUnallocated,
  kZeroPlain,      ///< reads as zeroes, no room
  kZeroAllocated,  ///< reads as zeroes, room is reserved
  kNormal,
  kCompressed,
};

/// What the meaning of an L2 entry depends on besides its bits.
struct EntryRules {
  bool extended = false;       ///< bit 0 is reserved, zeroes are in the bitmap
  bool has_data_file = false;  ///< offset 0 with the copied flag is data
  bool version2 = false;       ///< bit 0 is reserved, too: nothing says that a cluster is zero
};

/// The first (or only) 64 bits of an L2 table entry.
struct L2Entry {
  uint64_t raw = 0;

  static constexpr L2Entry normal(uint64_t host_offset, uint64_t copied_flag) {
    return {(host_offset & kOffsetMask) | (copied_flag & kCopiedFlag)};
  }
  static constexpr L2Entry zero_plain() { return {kZeroFlag}; }
  static constexpr L2Entry zero_allocated(uint64_t host_offset, uint64_t copied_flag) {
    return {normal(host_offset, copied_flag).raw | kZeroFlag};
  }
  constexpr bool compressed() const { return raw & kCompressedFlag; }
  constexpr bool copied() const { return raw & kCopiedFlag; }
  /// Host offset of a cluster that is not compressed.
  constexpr uint64_t offset() const { return raw & kOffsetMask; }
  constexpr ClusterKind kind(EntryRules rules) const {
    if (compressed()) return ClusterKind::kCompressed;
    if ((raw & kZeroFlag) && !rules.extended) {
      return offset() != 0 ? ClusterKind::kZeroAllocated : ClusterKind::kZeroPlain;
    }
    const bool allocated = offset() != 0 || (rules.has_data_file && copied());
    return allocated ? ClusterKind::kNormal : ClusterKind::kUnallocated;
  }
  /// Bits that must be 0 in a standard cluster descriptor.
  constexpr bool has_reserved_bits(EntryRules rules) const {
    if (compressed()) return false;
    const uint64_t used =
        kOffsetMask | kCopiedFlag | (rules.extended || rules.version2 ? 0 : kZeroFlag);
    return raw & ~used;
  }
  constexpr bool operator==(const L2Entry&) const = default;
};

/// Compressed data: in whole sectors as far as the entry knows.
struct CompressedExtent {
  uint64_t offset = 0;
  uint64_t length = 0;  ///< up to the end of the last sector
  constexpr bool operator==(const CompressedExtent&) const = default;
};

/// How a compressed cluster's descriptor is split into offset and sector count.
class CompressedLayout {
 public:
  static constexpr uint64_t kSector = 512;
  explicit constexpr CompressedLayout(unsigned cluster_bits) : shift_(62 - (cluster_bits - 8)) {}

  constexpr uint64_t max_offset() const { return offset_mask(); }
  constexpr uint64_t max_sectors() const { return (uint64_t{1} << (62 - shift_)); }

  constexpr CompressedExtent decode(uint64_t raw) const {
    const uint64_t offset = raw & offset_mask();
    const uint64_t sectors = ((raw & ~(kCopiedFlag | kCompressedFlag)) >> shift_) + 1;
    return {offset, sectors * kSector - offset % kSector};
  }
  /// The entry for `length` bytes at `offset`; empty when it cannot express them.
  constexpr std::optional<L2Entry> encode(CompressedExtent extent) const {
    if (extent.length == 0 || extent.offset > offset_mask()) return std::nullopt;
    // Lengths that can be expressed at all are small: anything larger cannot.
    if (extent.length > max_sectors() * kSector) return std::nullopt;
    const uint64_t extra = (extent.offset % kSector + extent.length - 1) / kSector;
    if (extra >= max_sectors()) return std::nullopt;
    return L2Entry{kCompressedFlag | (extra << shift_) | extent.offset};
  }
  /// Bits of the offset beyond bit 55 must be 0.
  constexpr bool has_reserved_bits(uint64_t raw) const {
    return raw & offset_mask() & ~((uint64_t{1} << 56) - 1);
  }

 private:
  constexpr uint64_t offset_mask() const { return (uint64_t{1} << shift_) - 1; }
  unsigned shift_;
};

enum class SubclusterKind : uint8_t {
  kUnallocated,        ///< the backing file's, no room
  kUnallocatedInRoom,  ///< the backing file's, the cluster has room
  kZeroPlain,
  kZeroAllocated,
  kNormal,
  kInvalid,  ///< marked allocated without room, or allocated and zero at once
};

/// The second 64 bits of an extended L2 entry. Bit n of either half is subcluster n.
struct SubclusterBitmap {
  uint64_t raw = 0;

  static constexpr SubclusterBitmap of(uint32_t allocated, uint32_t zero) {
    return {uint64_t{zero} << 32 | allocated};
  }
  static constexpr SubclusterBitmap all_allocated() { return of(~uint32_t{0}, 0); }
  static constexpr SubclusterBitmap all_zero() { return of(0, ~uint32_t{0}); }
  constexpr uint32_t allocated() const { return static_cast<uint32_t>(raw); }
  constexpr uint32_t zero() const { return static_cast<uint32_t>(raw >> 32); }
  constexpr bool contradicts_itself() const { return allocated() & zero(); }
  constexpr bool operator==(const SubclusterBitmap&) const = default;
};

/// An extended L2 entry, or a standard one with an empty bitmap.
struct ExtendedL2Entry {
  L2Entry descriptor;
  SubclusterBitmap bitmap;

  /// Of subcluster `index` of a cluster that is not compressed.
  constexpr SubclusterKind subcluster(unsigned index, EntryRules rules) const {
    const uint32_t bit = uint32_t{1} << index;
    const bool allocated = bitmap.allocated() & bit;
    const bool zero = bitmap.zero() & bit;
    const bool room = descriptor.kind(rules) == ClusterKind::kNormal;
    if (allocated && (zero || !room)) return SubclusterKind::kInvalid;
    if (allocated) return SubclusterKind::kNormal;
    if (zero) return room ? SubclusterKind::kZeroAllocated : SubclusterKind::kZeroPlain;
    return room ? SubclusterKind::kUnallocatedInRoom : SubclusterKind::kUnallocated;
  }
  constexpr bool operator==(const ExtendedL2Entry&) const = default;
};

}  // namespace ashlar::qcow2
