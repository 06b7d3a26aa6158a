// The qcow2 header: what it holds, decoding with every check, encoding.
// Specification: docs/interop/qcow2.rst, "Header", "Header extensions".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/task.h"

namespace ashlar {
class Child;
}  // namespace ashlar

namespace ashlar::qcow2 {

inline constexpr uint32_t kMagic = 0x514649fb;  // "QFI\xfb"

inline constexpr uint32_t kMinClusterBits = 9;
inline constexpr uint32_t kMaxClusterBits = 21;
inline constexpr uint32_t kMinExtendedL2ClusterBits = 14;
inline constexpr uint32_t kMaxRefcountOrder = 6;
inline constexpr uint64_t kMaxL1Bytes = 32_MiB;
inline constexpr uint64_t kMaxRefcountTableBytes = 8_MiB;
inline constexpr uint32_t kMaxSnapshots = 65536;
inline constexpr uint32_t kMaxBitmaps = 65535;
inline constexpr size_t kMaxBackingName = 1023;
inline constexpr size_t kMaxBackingFormat = 15;
inline constexpr uint32_t kHeaderLengthV2 = 72;
inline constexpr uint32_t kMinHeaderLengthV3 = 104;
inline constexpr uint32_t kHeaderLengthV3 = 112;  // of the images we create
/// Enough for header_geometry() of any image.
inline constexpr size_t kHeaderProbeBytes = kHeaderLengthV3;

namespace incompatible {
inline constexpr uint64_t kDirty = 1 << 0;
inline constexpr uint64_t kCorrupt = 1 << 1;
inline constexpr uint64_t kDataFile = 1 << 2;
inline constexpr uint64_t kCompressionType = 1 << 3;
inline constexpr uint64_t kExtendedL2 = 1 << 4;
inline constexpr uint64_t kKnown = 0x1f;
}  // namespace incompatible
namespace compatible {
inline constexpr uint64_t kLazyRefcounts = 1 << 0;
}  // namespace compatible
namespace autoclear {
inline constexpr uint64_t kBitmaps = 1 << 0;
inline constexpr uint64_t kRawDataFile = 1 << 1;
inline constexpr uint64_t kKnown = 0x3;
}  // namespace autoclear

enum class CryptMethod : uint32_t { kNone = 0, kAes = 1, kLuks = 2 };
enum class CompressionType : uint8_t { kDeflate = 0, kZstd = 1 };

/// Where the full disk encryption header is.
struct EncryptionHeader {
  uint64_t offset = 0;
  uint64_t length = 0;
  bool operator==(const EncryptionHeader&) const = default;
};

/// The bitmaps extension. True only while autoclear::kBitmaps is set; checked only then.
struct BitmapsExtension {
  uint32_t bitmap_count = 0;
  uint32_t reserved = 0;
  uint64_t directory_size = 0;
  uint64_t directory_offset = 0;
  bool operator==(const BitmapsExtension&) const = default;
};

/// One row of the feature name table.
struct FeatureName {
  enum class Kind : uint8_t { kIncompatible = 0, kCompatible = 1, kAutoclear = 2 };
  uint8_t kind = 0;  ///< a Kind; others are kept
  uint8_t bit = 0;
  std::string name;  ///< at most 46 bytes
  bool operator==(const FeatureName&) const = default;
};

struct UnknownExtension {
  uint32_t type = 0;
  std::vector<std::byte> data;
  bool operator==(const UnknownExtension&) const = default;
};

/// The decoded header. Whatever is not understood is kept, so that encoding does not lose it.
struct Header {
  uint32_t version = 3;
  uint32_t cluster_bits = 16;
  uint64_t size = 0;  ///< as stored; see virtual_size()
  CryptMethod crypt_method = CryptMethod::kNone;
  uint32_t l1_size = 0;  ///< entries
  uint64_t l1_table_offset = 0;
  uint64_t refcount_table_offset = 0;
  uint32_t refcount_table_clusters = 0;
  uint32_t snapshot_count = 0;    ///< unchecked until check_purpose()
  uint64_t snapshots_offset = 0;  ///< unchecked until check_purpose()
  uint64_t incompatible_features = 0;
  uint64_t compatible_features = 0;
  uint64_t autoclear_features = 0;
  uint32_t refcount_order = 4;
  uint32_t header_length = kHeaderLengthV3;
  CompressionType compression = CompressionType::kDeflate;
  std::vector<std::byte> later_fields;  ///< bytes 105 to header_length: padding, newer fields

  std::string backing_file;  ///< empty: none
  std::optional<std::string> backing_format;
  std::optional<std::string> data_file;
  std::optional<EncryptionHeader> encryption;
  std::vector<FeatureName> feature_names;
  std::optional<BitmapsExtension> bitmaps;
  std::vector<UnknownExtension> unknown_extensions;  ///< in the order of the image

  bool operator==(const Header&) const = default;

  uint64_t cluster_size() const { return uint64_t{1} << cluster_bits; }
  /// Guests see whole sectors: what the peer's readers have always done with odd sizes.
  uint64_t virtual_size() const { return align_down(size, 512); }
  bool has_extended_l2() const { return incompatible_features & incompatible::kExtendedL2; }
  bool has_data_file() const { return incompatible_features & incompatible::kDataFile; }
  bool has_raw_data_file() const { return autoclear_features & autoclear::kRawDataFile; }
  bool is_dirty() const { return incompatible_features & incompatible::kDirty; }
  bool is_corrupt() const { return incompatible_features & incompatible::kCorrupt; }
  bool has_lazy_refcounts() const { return compatible_features & compatible::kLazyRefcounts; }
  uint32_t l2_entry_bytes() const { return has_extended_l2() ? 16 : 8; }
  /// Entries of one L2 table.
  uint64_t l2_entries() const { return cluster_size() / l2_entry_bytes(); }
  uint64_t subcluster_size() const {
    return has_extended_l2() ? cluster_size() / 32 : cluster_size();
  }
  /// Guest bytes that one L1 entry covers.
  uint64_t l1_entry_coverage() const { return cluster_size() * l2_entries(); }
  uint64_t l1_bytes() const { return uint64_t{l1_size} * 8; }
  uint64_t refcount_bits() const { return uint64_t{1} << refcount_order; }
  /// Refcounts of one refcount block, 1 << refcount_block_bits().
  uint64_t refcounts_per_block() const { return cluster_size() * 8 >> refcount_order; }
  uint32_t refcount_block_bits() const { return cluster_bits + 3 - refcount_order; }
  uint64_t refcount_table_entries() const { return refcount_table_clusters * (cluster_size() / 8); }
  /// Whether it claims to have bitmaps and has none, which is an error.
  bool misses_bitmaps() const {
    return !bitmaps && (autoclear_features & autoclear::kBitmaps) != 0;
  }
  /// The bitmaps, if the image vouches for them.
  const BitmapsExtension* valid_bitmaps() const {
    return bitmaps && (autoclear_features & autoclear::kBitmaps) ? &*bitmaps : nullptr;
  }
};

/// L1 entries that `size` bytes need. Empty when no L1 table within the limit is large enough.
std::optional<uint32_t> l1_entries_for(const Header& header, uint64_t size);

/// What the first kHeaderProbeBytes say about how much to read for decode_header().
/// Errors: kWrongFormat (reason "qcow2-magic", "qcow2-header-short"), kUnsupported
/// ("qcow2-version", "qcow2-cluster-bits").
struct HeaderGeometry {
  uint32_t version;
  uint32_t cluster_bits;
};
Result<HeaderGeometry> header_geometry(std::span<const std::byte> first_bytes);

/// Decodes the first cluster, or all of a shorter file: what is missing counts as zeroes.
/// Errors: those of header_geometry(), kCorrupt and kUnsupported with a "qcow2-..." reason.
Result<Header> decode_header(std::span<const std::byte> first_cluster);

/// header_geometry() and decode_header() on the start of `file`.
Task<Result<Header>> read_header(Child& file);

/// What an image is opened for: some inconsistencies only matter for some purposes.
enum class Purpose : uint8_t {
  kInspect,  ///< metadata is shown, no guest data is read
  kRead,
  kWrite,
  kCheck,  ///< check and repair, which report and mend what others refuse
};
/// Whether a decoded header may be used for `purpose`. `file_size`: of the file that holds it.
/// Errors: kCorrupt, kReadOnly (reason "qcow2-corrupt": marked corrupt and to be written).
Result<void> check_purpose(const Header& header, Purpose purpose, uint64_t file_size);

/// Whether the snapshot table can be where and as large as the header says.
/// Errors: kCorrupt (reason "qcow2-snapshot-table-offset"), kTooLarge ("qcow2-snapshot-table-size",
/// with how many snapshots are too many).
Result<void> check_snapshot_fields(const Header& header);

/// The header, its extensions and the backing file name, padded with zeroes to a multiple of
/// 4 KiB or to the whole cluster. Write it at offset 0.
/// Errors: kTooLarge (reason "qcow2-header-full") when it does not fit in the first cluster.
Result<std::vector<std::byte>> encode_header(const Header& header);

/// The feature names that new images carry.
std::vector<FeatureName> default_feature_names();

}  // namespace ashlar::qcow2
