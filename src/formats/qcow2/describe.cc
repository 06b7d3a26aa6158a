// What a qcow2 image says about itself.
#include "formats/qcow2/describe.h"

#include "formats/qcow2/bitmap_directory.h"
#include "formats/qcow2/snapshot_table.h"

namespace ashlar::qcow2 {

namespace {

InfoValue describe_bitmap(const BitmapEntry& bitmap) {
  InfoValue::List flags;
  if (bitmap.in_use()) flags.emplace_back("in-use");
  if (bitmap.is_auto()) flags.emplace_back("auto");
  InfoValue::Object entry;
  entry.emplace_back("flags", std::move(flags));
  entry.emplace_back("name", bitmap.name);
  entry.emplace_back("granularity", int64_t{1} << bitmap.granularity_bits);
  return entry;
}

InfoValue::Object describe_encryption(const Header& header) {
  InfoValue::Object encryption;
  encryption.emplace_back("format", header.crypt_method == CryptMethod::kLuks ? "luks" : "aes");
  return encryption;
}

/// In the order and with the names that scripts know.
InfoValue::Object describe_format(const Header& header, std::span<const BitmapEntry> bitmaps) {
  InfoValue::Object members;
  const bool version3 = header.version >= 3;
  const bool zstd = header.compression == CompressionType::kZstd;
  members.emplace_back("compat", version3 ? "1.1" : "0.10");
  members.emplace_back("compression-type", zstd ? "zstd" : "zlib");
  if (version3) members.emplace_back("lazy-refcounts", header.has_lazy_refcounts());
  if (!bitmaps.empty()) {
    InfoValue::List list;
    for (const BitmapEntry& bitmap : bitmaps) list.push_back(describe_bitmap(bitmap));
    members.emplace_back("bitmaps", std::move(list));
  }
  members.emplace_back("refcount-bits", static_cast<int64_t>(header.refcount_bits()));
  if (header.crypt_method != CryptMethod::kNone) {
    members.emplace_back("encrypt", describe_encryption(header));
  }
  if (version3 && header.has_data_file()) {
    if (header.data_file) members.emplace_back("data-file", *header.data_file);
    members.emplace_back("data-file-raw", header.has_raw_data_file());
  }
  if (version3) {
    members.emplace_back("corrupt", header.is_corrupt());
    members.emplace_back("extended-l2", header.has_extended_l2());
  }
  return members;
}

}  // namespace

Task<Result<ImageInfo>> read_description(const Header& header, Child& file, Purpose purpose) {
  Result<std::vector<BitmapEntry>> bitmaps = co_await read_bitmap_directory(file, header);
  if (!bitmaps) co_return fail(bitmaps.error());
  Result<void> tables = co_await check_bitmap_tables(file, header, *bitmaps);
  if (!tables) co_return fail(tables.error());
  ImageInfo info;
  info.cluster_size = header.cluster_size();
  info.encrypted = header.crypt_method != CryptMethod::kNone;
  info.dirty = header.is_dirty();
  info.backing_file = header.backing_file;
  info.backing_format = header.backing_format.value_or("");
  if (header.snapshot_count != 0 && purpose != Purpose::kCheck) {
    Result<SnapshotTable> table = co_await read_snapshot_table(file, header, TableDamage::kRefuse);
    if (!table) co_return fail(table.error());
    for (const Snapshot& snapshot : table->snapshots) {
      info.snapshots.push_back(snapshot.info(header.virtual_size()));
    }
  }
  info.specific_type = "qcow2";
  info.specific = describe_format(header, *bitmaps);
  co_return info;
}

}  // namespace ashlar::qcow2
