// Decoding the qcow2 header: the fixed fields, what they must be to each other, who may use it.
#include "formats/qcow2/header.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "base/endian.h"
#include "formats/qcow2/header_extensions.h"

namespace ashlar::qcow2 {
namespace {

constexpr uint64_t kL1EntryBytes = 8;
// Smallest entry of the snapshot table, which bounds how many a table of valid size can hold.
constexpr uint64_t kMinSnapshotEntryBytes = 40;

template <typename... Args>
std::unexpected<Error> corrupt(std::string_view reason, fmt::format_string<Args...> text,
                               Args&&... args) {
  return fail(
      Error(ErrorCode::kCorrupt, fmt::format(text, std::forward<Args>(args)...)).because(reason));
}

/// A table of a header: where it is and how large.
struct Table {
  std::string_view what;
  std::string_view offset_reason;
  std::string_view size_reason;
  uint64_t offset;
  uint64_t entries;
  uint64_t entry_bytes;
  uint64_t max_bytes;
};

Result<void> check_table(const Table& table, uint64_t cluster_size) {
  if (table.entries > table.max_bytes / table.entry_bytes) {
    return fail(
        Error(ErrorCode::kTooLarge,
              fmt::format("{} has {} entries of {} bytes, at most {} MiB are allowed", table.what,
                          table.entries, table.entry_bytes, table.max_bytes / 1_MiB))
            .because(table.size_reason,
                     {std::to_string(table.entries - table.max_bytes / table.entry_bytes)}));
  }
  // Products are small now: entries are within the limit above.
  const uint64_t bytes = table.entries * table.entry_bytes;
  if (table.offset > kMaxDeviceSize - bytes) {
    return corrupt(table.offset_reason, "{} at 0x{:x} ends past the largest possible file",
                   table.what, table.offset);
  }
  if (!is_aligned(table.offset, cluster_size)) {
    return corrupt(table.offset_reason, "{} at 0x{:x} is not aligned to clusters of {} bytes",
                   table.what, table.offset, cluster_size);
  }
  return ok();
}

void decode_fixed_fields(std::span<const std::byte> bytes, Header& header) {
  const std::byte* const at = bytes.data();
  header.version = load_be<uint32_t>(at + 4);
  header.cluster_bits = load_be<uint32_t>(at + 20);
  header.size = load_be<uint64_t>(at + 24);
  header.crypt_method = static_cast<CryptMethod>(load_be<uint32_t>(at + 32));
  header.l1_size = load_be<uint32_t>(at + 36);
  header.l1_table_offset = load_be<uint64_t>(at + 40);
  header.refcount_table_offset = load_be<uint64_t>(at + 48);
  header.refcount_table_clusters = load_be<uint32_t>(at + 56);
  header.snapshot_count = load_be<uint32_t>(at + 60);
  header.snapshots_offset = load_be<uint64_t>(at + 64);
  if (header.version == 2) {
    header.refcount_order = 4;
    header.header_length = kHeaderLengthV2;
    return;
  }
  header.incompatible_features = load_be<uint64_t>(at + 72);
  header.compatible_features = load_be<uint64_t>(at + 80);
  header.autoclear_features = load_be<uint64_t>(at + 88);
  header.refcount_order = load_be<uint32_t>(at + 96);
  header.header_length = load_be<uint32_t>(at + 100);
}

Result<void> check_header_length(const Header& header) {
  if (header.version == 2) return ok();
  const uint32_t length = header.header_length;
  if (length < kMinHeaderLengthV3) {
    return corrupt("qcow2-header-short", "header length {} is below {}", length,
                   kMinHeaderLengthV3);
  }
  if (length > header.cluster_size()) {
    return corrupt("qcow2-header-long", "header length {} exceeds the cluster size of {} bytes",
                   length, header.cluster_size());
  }
  if (!is_aligned(length, 8)) {
    return corrupt("qcow2-header-length", "header length {} is not a multiple of 8", length);
  }
  return ok();
}

/// Fields that are there or not, depending on header_length: the compression type, and unknown
/// ones.
Result<void> decode_additional_fields(std::span<const std::byte> cluster, Header& header) {
  uint8_t type = 0;
  if (header.header_length > kMinHeaderLengthV3) {
    type = std::to_integer<uint8_t>(cluster[kMinHeaderLengthV3]);
    const auto later = cluster.first(header.header_length).subspan(kMinHeaderLengthV3 + 1);
    header.later_fields.assign(later.begin(), later.end());
  }
  if (type > static_cast<uint8_t>(CompressionType::kZstd)) {
    return fail(Error(ErrorCode::kUnsupported,
                      fmt::format("compression type {} is unknown, 0 (deflate) and 1 (zstd) are "
                                  "supported",
                                  type))
                    .because("qcow2-compression-type", {std::to_string(type)}));
  }
  header.compression = static_cast<CompressionType>(type);
  const bool bit = header.incompatible_features & incompatible::kCompressionType;
  if (bit && type == 0) {
    return corrupt("qcow2-compression-bit-set",
                   "the compression type bit is set, but the compression type is 0 (deflate)");
  }
  if (!bit && type != 0) {
    return corrupt("qcow2-compression-bit-clear",
                   "compression type {} needs the compression type bit, which is clear", type);
  }
  return ok();
}

/// What is set in `features`: by the names that the image gives, and the rest.
struct NamedFeatures {
  std::string names;
  uint64_t rest = 0;
};
NamedFeatures name_features(uint64_t features, std::span<const FeatureName> names) {
  std::string text;
  const auto append = [&text](std::string_view part) {
    if (!text.empty()) text += ", ";
    text += part;
  };
  for (const FeatureName& row : names) {
    const bool applies =
        row.kind == static_cast<uint8_t>(FeatureName::Kind::kIncompatible) && row.bit < 64;
    if (!applies || !(features & uint64_t{1} << row.bit) || row.name.empty()) continue;
    append(row.name);
    features &= ~(uint64_t{1} << row.bit);
  }
  return {.names = std::move(text), .rest = features};
}

Error unsupported_features(const NamedFeatures& features) {
  std::string text = features.names;
  std::string_view reason = "qcow2-features-named";
  if (features.rest != 0) {
    reason = text.empty() ? "qcow2-features" : "qcow2-features-mixed";
    text += fmt::format("{}unknown incompatible feature 0x{:x}", text.empty() ? "" : ", ",
                        features.rest);
  }
  return Error(ErrorCode::kUnsupported, "image needs unsupported features: " + text)
      .because(reason, {features.names, fmt::format("{:x}", features.rest)});
}

Result<void> check_features(const Header& header, std::span<const std::byte> extensions) {
  const uint64_t unknown = header.incompatible_features & ~incompatible::kKnown;
  if (unknown != 0) {
    const std::vector<FeatureName> names = find_feature_names(extensions);
    return fail(unsupported_features(name_features(unknown, names)));
  }
  if (header.has_extended_l2() && header.cluster_bits < kMinExtendedL2ClusterBits) {
    return fail(Error(ErrorCode::kCorrupt,
                      fmt::format("extended L2 entries need clusters of 16 KiB or more, not {} "
                                  "bytes",
                                  header.cluster_size()))
                    .because("qcow2-subcluster-size", {std::to_string(header.subcluster_size())}));
  }
  return ok();
}

Result<void> check_widths(const Header& header) {
  if (header.refcount_order > kMaxRefcountOrder) {
    return corrupt("qcow2-refcount-order", "refcount order {} is above {} (64 bits)",
                   header.refcount_order, kMaxRefcountOrder);
  }
  const auto method = static_cast<uint32_t>(header.crypt_method);
  if (method > static_cast<uint32_t>(CryptMethod::kLuks)) {
    return fail(Error(ErrorCode::kUnsupported,
                      fmt::format("encryption method {} is unknown, 0 (none), 1 (AES) and 2 (LUKS) "
                                  "are defined",
                                  method))
                    .because("qcow2-crypt-method", {std::to_string(method)}));
  }
  return ok();
}

Result<void> check_tables(const Header& header) {
  const Table refcounts = {.what = "refcount table",
                           .offset_reason = "qcow2-refcount-table-offset",
                           .size_reason = "qcow2-refcount-table-size",
                           .offset = header.refcount_table_offset,
                           .entries = header.refcount_table_clusters,
                           .entry_bytes = header.cluster_size(),
                           .max_bytes = kMaxRefcountTableBytes};
  if (auto good = check_table(refcounts, header.cluster_size()); !good) return good;
  const Table l1 = {.what = "L1 table",
                    .offset_reason = "qcow2-l1-offset",
                    .size_reason = "qcow2-l1-size",
                    .offset = header.l1_table_offset,
                    .entries = header.l1_size,
                    .entry_bytes = kL1EntryBytes,
                    .max_bytes = kMaxL1Bytes};
  if (auto good = check_table(l1, header.cluster_size()); !good) return good;

  const uint64_t needed = divide_up(header.size, header.l1_entry_coverage());
  if (header.size > kMaxDeviceSize || needed > INT32_MAX) {
    return fail(Error(ErrorCode::kTooLarge,
                      fmt::format("virtual size {} cannot be mapped with clusters of {} bytes",
                                  header.size, header.cluster_size()))
                    .because("qcow2-size"));
  }
  if (header.l1_size < needed) {
    return corrupt("qcow2-l1-too-small", "L1 table has {} entries, virtual size {} needs {}",
                   header.l1_size, header.size, needed);
  }
  return ok();
}

/// Reads the name, whose place must be inside the first cluster.
Result<void> decode_backing_name(std::span<const std::byte> cluster, Header& header) {
  const uint64_t offset = load_be<uint64_t>(cluster.data() + 8);
  const uint32_t length = load_be<uint32_t>(cluster.data() + 16);
  if (offset == 0) return ok();
  const uint64_t room = cluster.size() - offset;  // offset: checked by decode_header()
  const uint64_t allowed = std::min<uint64_t>(kMaxBackingName, room);
  if (length > allowed) {
    return corrupt("qcow2-backing-name-size",
                   "backing file name at 0x{:x} has {} bytes, at most {} fit", offset, length,
                   allowed);
  }
  header.backing_file = text_of(cluster.subspan(offset, length));
  return ok();
}

/// Everything after the geometry is known. `cluster` is the whole first cluster.
Result<Header> decode_cluster(std::span<const std::byte> cluster) {
  Header header;
  decode_fixed_fields(cluster, header);
  if (auto good = check_header_length(header); !good) return fail(good.error());
  const uint64_t backing_offset = load_be<uint64_t>(cluster.data() + 8);
  if (backing_offset > cluster.size()) {
    return corrupt("qcow2-backing-offset",
                   "backing file name at 0x{:x} is outside of the first cluster of {} bytes",
                   backing_offset, cluster.size());
  }
  // Extensions end where the backing file name starts.
  const uint64_t extensions_end = backing_offset != 0 ? backing_offset : cluster.size();
  std::span<const std::byte> extensions;
  if (extensions_end > header.header_length) {
    extensions = cluster.first(extensions_end).subspan(header.header_length);
  }
  if (auto good = check_features(header, extensions); !good) return fail(good.error());
  if (header.version >= 3) {
    if (auto good = decode_additional_fields(cluster, header); !good) return fail(good.error());
  }
  if (auto good = check_widths(header); !good) return fail(good.error());
  if (auto good = check_tables(header); !good) return fail(good.error());
  if (auto good = decode_extensions(extensions, header); !good) return fail(good.error());
  if (auto good = decode_backing_name(cluster, header); !good) return fail(good.error());
  return header;
}

}  // namespace

std::optional<uint32_t> l1_entries_for(const Header& header, uint64_t size) {
  const uint64_t needed = divide_up(size, header.l1_entry_coverage());
  if (needed > kMaxL1Bytes / kL1EntryBytes) return std::nullopt;
  return static_cast<uint32_t>(needed);
}

Result<HeaderGeometry> header_geometry(std::span<const std::byte> first_bytes) {
  if (first_bytes.size() < 4 || load_be<uint32_t>(first_bytes.data()) != kMagic) {
    return fail(Error(ErrorCode::kWrongFormat, "image is not in qcow2 format: no \"QFI\\xfb\" at 0")
                    .because("qcow2-magic"));
  }
  const auto too_short = [&first_bytes](uint32_t needed) {
    return fail(Error(ErrorCode::kWrongFormat, fmt::format("file of {} bytes is shorter than the "
                                                           "header of {} bytes",
                                                           first_bytes.size(), needed))
                    .because("qcow2-header-short"));
  };
  if (first_bytes.size() < kHeaderLengthV2) return too_short(kHeaderLengthV2);
  const HeaderGeometry geometry = {load_be<uint32_t>(first_bytes.data() + 4),
                                   load_be<uint32_t>(first_bytes.data() + 20)};
  if (geometry.version != 2 && geometry.version != 3) {
    return fail(Error(ErrorCode::kUnsupported, fmt::format("qcow2 version {} is not supported, "
                                                           "2 and 3 are",
                                                           geometry.version))
                    .because("qcow2-version", {std::to_string(geometry.version)}));
  }
  if (geometry.cluster_bits < kMinClusterBits || geometry.cluster_bits > kMaxClusterBits) {
    return fail(Error(ErrorCode::kUnsupported,
                      fmt::format("cluster bits {} at 0x14 are outside of {} to {}",
                                  geometry.cluster_bits, kMinClusterBits, kMaxClusterBits))
                    .because("qcow2-cluster-bits", {std::to_string(geometry.cluster_bits)}));
  }
  if (geometry.version == 3 && first_bytes.size() < kMinHeaderLengthV3) {
    return too_short(kMinHeaderLengthV3);
  }
  return geometry;
}

Result<Header> decode_header(std::span<const std::byte> first_cluster) {
  const auto geometry = header_geometry(first_cluster);
  if (!geometry) return fail(geometry.error());
  const uint64_t cluster_size = uint64_t{1} << geometry->cluster_bits;
  if (first_cluster.size() >= cluster_size) {
    return decode_cluster(first_cluster.first(cluster_size));
  }
  std::vector<std::byte> padded(first_cluster.begin(), first_cluster.end());
  padded.resize(cluster_size);
  return decode_cluster(padded);
}

Result<void> check_snapshot_fields(const Header& header) {
  const Table snapshots = {.what = "snapshot table",
                           .offset_reason = "qcow2-snapshot-table-offset",
                           .size_reason = "qcow2-snapshot-table-size",
                           .offset = header.snapshots_offset,
                           .entries = header.snapshot_count,
                           .entry_bytes = kMinSnapshotEntryBytes,
                           .max_bytes = kMaxSnapshots * kMinSnapshotEntryBytes};
  return check_table(snapshots, header.cluster_size());
}

Result<void> check_purpose(const Header& header, Purpose purpose, uint64_t file_size) {
  if (purpose != Purpose::kInspect && header.has_raw_data_file() && !header.has_data_file()) {
    return corrupt("qcow2-raw-without-data-file",
                   "the raw external data bit is set, but the image has no external data file");
  }
  if (purpose == Purpose::kCheck) return ok();
  if (purpose == Purpose::kWrite && header.is_corrupt()) {
    return fail(Error(ErrorCode::kReadOnly, "image is marked corrupt and can only be read")
                    .because("qcow2-corrupt"));
  }
  if (header.refcount_table_clusters == 0) {
    return corrupt("qcow2-no-refcount-table", "image has no refcount table");
  }
  if (auto good = check_snapshot_fields(header); !good) return good;
  if (purpose == Purpose::kInspect) return ok();
  // Reads past the end give zeroes: the disk would look empty rather than damaged.
  if (header.l1_size != 0 && header.l1_table_offset >= file_size) {
    return corrupt("qcow2-l1-outside", "L1 table at 0x{:x} is past the end of the file at 0x{:x}",
                   header.l1_table_offset, file_size);
  }
  if (purpose == Purpose::kWrite && header.refcount_table_offset >= file_size) {
    return corrupt("qcow2-refcount-table-outside",
                   "refcount table at 0x{:x} is past the end of the file at 0x{:x}",
                   header.refcount_table_offset, file_size);
  }
  return ok();
}

}  // namespace ashlar::qcow2
