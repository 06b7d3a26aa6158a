// The directory of persistent bitmaps and their tables.
#include "formats/qcow2/bitmap_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "ashlar/driver.h"
#include "base/checked.h"
#include "base/endian.h"
#include "formats/qcow2/extension_types.h"
#include "formats/qcow2/metadata_reader.h"

namespace ashlar::qcow2 {
namespace {

std::unexpected<Error> corrupt(std::string_view reason, std::string message,
                               std::initializer_list<std::string> values = {}) {
  return fail(Error(ErrorCode::kCorrupt, std::move(message)).because(reason, values));
}

/// What an entry breaks, in words; empty: nothing.
std::string constraint_broken_by(const BitmapEntry& entry, const Header& header) {
  const uint64_t cluster_size = header.cluster_size();
  if (entry.name.empty() || entry.name.size() > kMaxBitmapName) {
    return fmt::format("name has {} bytes, 1 to {} are allowed", entry.name.size(), kMaxBitmapName);
  }
  if (entry.table_offset == 0 || !is_aligned(entry.table_offset, cluster_size) ||
      entry.table_offset > kMaxDeviceSize - kMaxBitmapBytes) {
    return fmt::format("table at 0x{:x} is not a cluster of a file", entry.table_offset);
  }
  if (entry.table_size == 0 || entry.table_size > kMaxBitmapBytes / cluster_size) {
    return fmt::format("table has {} entries, 1 to {} are allowed", entry.table_size,
                       kMaxBitmapBytes / cluster_size);
  }
  const uint32_t unknown = entry.flags & ~(bitmap_flag::kInUse | bitmap_flag::kAuto);
  if (unknown != 0) return fmt::format("flags 0x{:x} are unknown", unknown);
  if (entry.type != kDirtyTrackingBitmap) {
    return fmt::format("type is {}, only 1 (dirty tracking) is known", entry.type);
  }
  if (entry.granularity_bits < kMinBitmapGranularityBits ||
      entry.granularity_bits > kMaxBitmapGranularityBits) {
    return fmt::format("granularity bits are {}, {} to {} are allowed", entry.granularity_bits,
                       kMinBitmapGranularityBits, kMaxBitmapGranularityBits);
  }
  if (entry.table_size < bitmap_clusters(header, entry.granularity_bits)) {
    return fmt::format("table has {} entries, the disk needs {}", entry.table_size,
                       bitmap_clusters(header, entry.granularity_bits));
  }
  return {};
}

uint64_t entry_bytes(size_t name_size) { return align_up(kBitmapEntryBytes + name_size, 8); }

/// Reads the entry at `at`, of which `left` bytes of the directory are left.
Task<Result<BitmapEntry>> read_entry(MetadataReader& reader, uint64_t at, uint64_t left) {
  const auto broken = [](std::string message) {
    return corrupt("qcow2-bitmap-directory", "bitmap directory: " + message);
  };
  if (left < kBitmapEntryBytes) {
    co_return broken(fmt::format("{} bytes left, an entry needs {}", left, kBitmapEntryBytes));
  }
  const ByteRange fixed = {at, kBitmapEntryBytes};
  auto bytes = co_await reader.view(fixed, at + left);
  if (!bytes) co_return fail(bytes.error());
  const std::byte* const from = bytes->data();
  BitmapEntry entry;
  entry.table_offset = load_be<uint64_t>(from);
  entry.table_size = load_be<uint32_t>(from + 8);
  entry.flags = load_be<uint32_t>(from + 12);
  entry.type = load_be<uint8_t>(from + 16);
  entry.granularity_bits = load_be<uint8_t>(from + 17);
  const uint16_t name_size = load_be<uint16_t>(from + 18);
  const uint32_t extra_size = load_be<uint32_t>(from + 20);
  if (entry_bytes(name_size) > left) {
    co_return broken(fmt::format("entry of {} bytes, {} are left", entry_bytes(name_size), left));
  }
  if (extra_size != 0) {
    co_return fail(
        Error(ErrorCode::kUnsupported,
              fmt::format("bitmap directory: entry at 0x{:x} has {} bytes of extra data, "
                          "none is supported",
                          at, extra_size))
            .because("qcow2-bitmap-extra"));
  }
  const ByteRange name = {at + kBitmapEntryBytes, name_size};
  bytes = co_await reader.view(name, at + left);
  if (!bytes) co_return fail(bytes.error());
  entry.name.assign(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  co_return entry;
}

/// Checks one table entry by entry.
Task<Result<void>> check_table(MetadataReader& reader, const Header& header,
                               const BitmapEntry& bitmap) {
  const uint64_t end = bitmap.table_offset + bitmap.table_bytes();
  for (uint64_t at = bitmap.table_offset; at < end;) {
    const ByteRange part = {at, std::min<uint64_t>(end - at, MetadataReader::kWindow)};
    const auto bytes = co_await reader.view(part, end);
    if (!bytes) co_return fail(bytes.error());
    for (size_t offset = 0; offset < bytes->size(); offset += 8) {
      const BitmapTableEntry entry{load_be<uint64_t>(bytes->data() + offset)};
      if (!entry.is_valid(header.cluster_size())) {
        co_return corrupt("qcow2-bitmap-table",
                          fmt::format("bitmap \"{}\": table entry 0x{:x} at 0x{:x} is unaligned or "
                                      "has reserved bits set",
                                      bitmap.name, entry.raw, at + offset),
                          {bitmap.name});
      }
    }
    at += part.length;
  }
  co_return ok();
}

}  // namespace

uint64_t bitmap_clusters(const Header& header, uint8_t granularity_bits) {
  const uint64_t bits = divide_up(header.virtual_size(), uint64_t{1} << granularity_bits);
  return divide_up(divide_up(bits, 8), header.cluster_size());
}

Task<Result<std::vector<BitmapEntry>>> read_bitmap_directory(Child& file, const Header& header) {
  std::vector<BitmapEntry> entries;
  const BitmapsExtension* const where = header.valid_bitmaps();
  if (where == nullptr) co_return entries;
  if (where->directory_size == 0) {
    co_return corrupt("qcow2-bitmap-directory-empty", "bitmap directory has 0 bytes");
  }
  MetadataReader reader(file);
  std::unordered_set<std::string> names;
  const uint64_t end = where->directory_offset + where->directory_size;
  for (uint64_t at = where->directory_offset; at < end;) {
    if (entries.size() == where->bitmap_count) {
      co_return corrupt("qcow2-bitmap-more",
                        fmt::format("bitmap directory goes on after {} bitmaps, which are all that "
                                    "the header counts",
                                    where->bitmap_count));
    }
    auto entry = co_await read_entry(reader, at, end - at);
    if (!entry) co_return fail(entry.error());
    if (const auto broken = constraint_broken_by(*entry, header); !broken.empty()) {
      co_return corrupt("qcow2-bitmap-constraints",
                        fmt::format("bitmap \"{}\": {}", entry->name, broken), {entry->name});
    }
    if (!names.insert(entry->name).second) {
      co_return corrupt("qcow2-bitmap-twice",
                        fmt::format("bitmap \"{}\" exists twice", entry->name), {entry->name});
    }
    at += entry_bytes(entry->name.size());
    entries.push_back(std::move(*entry));
  }
  if (entries.size() < where->bitmap_count) {
    co_return corrupt("qcow2-bitmap-less",
                      fmt::format("bitmap directory has {} bitmaps, the header counts {}",
                                  entries.size(), where->bitmap_count));
  }
  co_return entries;
}

Task<Result<void>> check_bitmap_tables(Child& file, const Header& header,
                                       std::span<const BitmapEntry> bitmaps) {
  MetadataReader reader(file);
  for (const BitmapEntry& bitmap : bitmaps) {
    // In use means that it was not saved: nothing of it is read.
    if (bitmap.in_use()) continue;
    if (auto good = co_await check_table(reader, header, bitmap); !good) co_return good;
    const uint64_t needed = bitmap_clusters(header, bitmap.granularity_bits);
    if (bitmap.table_size != needed) {
      co_return corrupt("qcow2-bitmap-size",
                        fmt::format("bitmap \"{}\": table has {} entries, the disk needs {}",
                                    bitmap.name, bitmap.table_size, needed),
                        {bitmap.name});
    }
  }
  co_return ok();
}

Result<std::vector<std::byte>> encode_bitmap_directory(const Header& header,
                                                       std::span<const BitmapEntry> bitmaps) {
  std::vector<std::byte> out;
  for (const BitmapEntry& bitmap : bitmaps) {
    if (const auto broken = constraint_broken_by(bitmap, header); !broken.empty()) {
      return fail(
          Error(ErrorCode::kInvalidArgument, fmt::format("bitmap \"{}\": {}", bitmap.name, broken))
              .because("qcow2-bitmap-constraints", {bitmap.name}));
    }
    const size_t start = out.size();
    out.resize(start + entry_bytes(bitmap.name.size()));
    std::byte* const at = out.data() + start;
    store_be(at, bitmap.table_offset);
    store_be(at + 8, bitmap.table_size);
    store_be(at + 12, bitmap.flags);
    store_be(at + 16, bitmap.type);
    store_be(at + 17, bitmap.granularity_bits);
    store_be(at + 18, static_cast<uint16_t>(bitmap.name.size()));
    std::memcpy(at + kBitmapEntryBytes, bitmap.name.data(), bitmap.name.size());
  }
  if (bitmaps.size() > kMaxBitmaps || out.size() > kMaxBitmapDirectoryBytes) {
    return fail(
        Error(ErrorCode::kTooLarge,
              fmt::format("{} bitmaps in a directory of {} bytes, at most {} in {} are "
                          "allowed",
                          bitmaps.size(), out.size(), kMaxBitmaps, kMaxBitmapDirectoryBytes))
            .because("qcow2-bitmaps-directory-size"));
  }
  return out;
}

}  // namespace ashlar::qcow2
