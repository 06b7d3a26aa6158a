// Persistent bitmaps of an image: reading and adding them, and fitting them to another disk size.
// New tables and a new directory are written beside the old ones; the header, written at once,
// switches. Until then the old bitmaps hold, afterwards the new ones: never a mixture.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/checked.h"
#include "formats/qcow2/bitmap_data.h"
#include "formats/qcow2/image.h"

namespace ashlar::qcow2 {
namespace {

PersistentBitmap description_of(const BitmapEntry& entry) {
  using enum PersistentBitmap::State;
  return {.name = entry.name,
          .granularity = uint64_t{1} << entry.granularity_bits,
          .state = entry.in_use() ? kInconsistent : (entry.is_auto() ? kEnabled : kDisabled)};
}

bool all_are(std::span<const std::byte> bytes, std::byte value) {
  return std::ranges::all_of(bytes, [value](std::byte byte) { return byte == value; });
}

}  // namespace

Task<Result<std::vector<PersistentBitmap>>> Image::list_bitmaps() {
  const auto entries = co_await read_bitmap_directory(file_, header_);
  if (!entries) co_return fail(entries.error());
  std::vector<PersistentBitmap> bitmaps;
  for (const BitmapEntry& entry : *entries) bitmaps.push_back(description_of(entry));
  co_return bitmaps;
}

Task<Result<BitmapEntry>> Image::find_bitmap(std::string_view name) {
  auto entries = co_await read_bitmap_directory(file_, header_);
  if (!entries) co_return fail(entries.error());
  const auto found = std::ranges::find(*entries, name, &BitmapEntry::name);
  if (found != entries->end()) co_return std::move(*found);
  co_return fail(
      Error(ErrorCode::kNotFound, fmt::format("the image has no bitmap called \"{}\"", name))
          .because("bitmap-not-found", {std::string(name)}));
}

Task<Result<std::vector<std::byte>>> Image::read_bitmap(std::string name) {
  const auto entry = co_await find_bitmap(name);
  if (!entry) co_return fail(entry.error());
  if (entry->in_use()) {
    co_return fail(
        Error(ErrorCode::kCorrupt,
              fmt::format("bitmap \"{}\" was not saved by whoever wrote to the disk last", name))
            .because("bitmap-inconsistent", {name}));
  }
  const auto table = co_await read_bitmap_table(file_, header_, *entry);
  if (!table) co_return fail(table.error());
  // At most kMaxBitmapBytes, as the directory's check sees to.
  const uint64_t count = bitmap_bits(header_.virtual_size(), entry->granularity_bits);
  std::vector<std::byte> bits(divide_up(count, 8));
  for (uint64_t at = 0; at < bits.size(); at += cluster_size()) {
    const uint64_t index = at / cluster_size();
    if (index >= table->size()) break;
    const auto part = std::span(bits).subspan(at, std::min(cluster_size(), bits.size() - at));
    const Result<void> done = co_await read_bitmap_part(file_, (*table)[index], part);
    if (!done) co_return fail(done.error().within("read bitmap", name));
  }
  clear_bits_from(bits, count);
  co_return bits;
}

/// Writes `bytes` into clusters of their own.
Task<Result<uint64_t>> Image::write_table(std::span<const std::byte> bytes, NewBitmaps& change) {
  const uint64_t clusters = divide_up(bytes.size(), cluster_size());
  Result<uint64_t> first = uint64_t{0};
  {
    EpochDomain::Ticket inside = host_.requests().enter();
    Mutex::Guard guard = co_await metadata_.lock();
    first = co_await refcounts_->allocate_exactly(clusters);
  }
  if (!first) co_return fail(first.error());
  change.made.push_back({*first, clusters});
  std::vector<std::byte> whole(clusters * cluster_size());
  std::ranges::copy(bytes, whole.begin());
  const ByteRange where(*first * cluster_size(), whole.size());
  const ConstBuffers from(whole.data(), whole.size());
  const Result<void> done = co_await file_.write(where, from, {});
  if (!done) co_return fail(done.error());
  co_return where.offset;
}

/// Writes the directory of bitmaps for a disk of `size` bytes, and makes everything durable.
Task<Result<void>> Image::write_directory(std::span<const BitmapEntry> bitmaps, uint64_t size,
                                          NewBitmaps& change) {
  Header later = header_;
  later.size = size;
  if (!bitmaps.empty()) {
    const auto bytes = encode_bitmap_directory(later, bitmaps);
    if (!bytes) co_return fail(bytes.error());
    const Result<uint64_t> offset = co_await write_table(*bytes, change);
    if (!offset) co_return fail(offset.error());
    change.extension.bitmap_count = static_cast<uint32_t>(bitmaps.size());
    change.extension.directory_size = bytes->size();
    change.extension.directory_offset = *offset;
  }
  if (const BitmapsExtension* old = header_.valid_bitmaps()) {
    change.replaced.push_back(
        {cluster_of(old->directory_offset), divide_up(old->directory_size, cluster_size())});
  }
  co_return co_await write_back();
}

Result<void> Image::check_new_bitmap(const PersistentBitmap& bitmap, uint64_t bytes) const {
  const auto refuse = [&bitmap](std::string what) {
    return fail(
        Error(ErrorCode::kInvalidArgument, fmt::format("bitmap \"{}\": {}", bitmap.name, what))
            .because("bitmap-invalid", {bitmap.name}));
  };
  constexpr uint64_t kLeast = uint64_t{1} << kMinBitmapGranularityBits;
  constexpr uint64_t kMost = uint64_t{1} << kMaxBitmapGranularityBits;
  if (!std::has_single_bit(bitmap.granularity) || bitmap.granularity < kLeast ||
      bitmap.granularity > kMost) {
    return refuse(fmt::format("a granularity of {} bytes, powers of two from {} to {} are allowed",
                              bitmap.granularity, kLeast, kMost));
  }
  const uint64_t wanted =
      divide_up(divide_up(header_.virtual_size(), bitmap.granularity), uint64_t{8});
  if (bytes != wanted) {
    return refuse(fmt::format("{} bytes of bits, the disk needs {}", bytes, wanted));
  }
  return check_writable();
}

/// Writes the data and the table of a new bitmap. Clusters of equal bits need no room.
Task<Result<BitmapEntry>> Image::write_bitmap(const PersistentBitmap& bitmap,
                                              std::span<const std::byte> bits, NewBitmaps& change) {
  BitmapEntry entry;
  entry.name = bitmap.name;
  entry.granularity_bits = static_cast<uint8_t>(std::countr_zero(bitmap.granularity));
  using enum PersistentBitmap::State;
  if (bitmap.state == kEnabled) entry.flags = bitmap_flag::kAuto;
  if (bitmap.state == kInconsistent) entry.flags = bitmap_flag::kAuto | bitmap_flag::kInUse;
  const uint64_t clusters = bitmap_clusters(header_, entry.granularity_bits);
  if (clusters > kMaxBitmapBytes / cluster_size()) {
    co_return fail(Error(ErrorCode::kTooLarge,
                         fmt::format("bitmap \"{}\" needs {} clusters, at most {} are allowed",
                                     bitmap.name, clusters, kMaxBitmapBytes / cluster_size()))
                       .because("bitmap-too-large", {bitmap.name}));
  }
  // The table of a disk without bytes has an entry, too.
  std::vector<BitmapTableEntry> table(std::max<uint64_t>(clusters, 1));
  for (uint64_t i = 0; i < clusters; ++i) {
    const auto rest = bits.subspan(i * cluster_size());
    const auto part = rest.first(std::min<size_t>(rest.size(), cluster_size()));
    if (all_are(part, std::byte{0})) continue;
    if (part.size() == cluster_size() && all_are(part, std::byte{0xff})) {
      table[i].raw = 1;
      continue;
    }
    const Result<uint64_t> offset = co_await write_table(part, change);
    if (!offset) co_return fail(offset.error());
    table[i].raw = *offset;
  }
  const std::vector<std::byte> bytes = encode_bitmap_table(table);
  const Result<uint64_t> offset = co_await write_table(bytes, change);
  if (!offset) co_return fail(offset.error());
  entry.table_offset = *offset;
  entry.table_size = static_cast<uint32_t>(table.size());
  co_return entry;
}

Task<Result<void>> Image::add_bitmap(PersistentBitmap bitmap, std::vector<std::byte> bits) {
  Result<void> done = check_new_bitmap(bitmap, bits.size());
  if (!done) co_return done;
  auto entries = co_await read_bitmap_directory(file_, header_);
  if (!entries) co_return fail(entries.error());
  if (std::ranges::find(*entries, bitmap.name, &BitmapEntry::name) != entries->end()) {
    co_return fail(
        Error(ErrorCode::kExists, fmt::format("the image has a bitmap \"{}\" already", bitmap.name))
            .because("bitmap-exists", {bitmap.name}));
  }
  clear_bits_from(bits, bitmap_bits(header_.virtual_size(),
                                    static_cast<uint8_t>(std::countr_zero(bitmap.granularity))));
  new_bitmaps_.emplace();
  auto entry = co_await write_bitmap(bitmap, bits, *new_bitmaps_);
  if (entry) {
    entries->push_back(std::move(*entry));
    done = co_await write_directory(*entries, header_.size, *new_bitmaps_);
  } else {
    done = fail(entry.error());
  }
  co_return co_await finish_new_bitmaps(std::move(done));
}

/// Lets the header say both: where the bitmaps are, and how large the disk is that they are for.
Task<Result<void>> Image::switch_to_new_bitmaps(uint64_t size) {
  Mutex::Guard guard = co_await metadata_.lock();
  const Header before = header_;
  header_.size = size;
  const bool none = new_bitmaps_->extension.bitmap_count == 0;
  header_.bitmaps.reset();
  if (!none) header_.bitmaps = new_bitmaps_->extension;
  header_.autoclear_features &= ~autoclear::kBitmaps;
  if (!none) header_.autoclear_features |= autoclear::kBitmaps;
  const Result<void> done = co_await write_header();
  if (!done) {
    header_ = before;
    co_return done;
  }
  if (const BitmapsExtension* old = before.valid_bitmaps()) {
    ranges_.remove({old->directory_offset, old->directory_size});
  }
  if (!none) {
    ranges_.add({header_.bitmaps->directory_offset, header_.bitmaps->directory_size},
                "bitmap directory");
  }
  for (const ClusterRun run : new_bitmaps_->replaced) free_later(run, false);
  new_bitmaps_.reset();
  // Those that track writes count as right again: the next change has to announce itself.
  started_writing_.store(false);
  co_return ok();
}

/// The header does not come to point to them.
Task<void> Image::drop_new_bitmaps() {
  if (!new_bitmaps_) co_return;
  Mutex::Guard guard = co_await metadata_.lock();
  for (const ClusterRun run : new_bitmaps_->made) free_later(run, false);
  new_bitmaps_.reset();
}

/// The first `bits` bits of what `entry` stands for, and zeroes behind them.
Task<Result<BitmapTableEntry>> Image::shortened_part(BitmapTableEntry entry, uint64_t bits,
                                                     NewBitmaps& change) {
  if (entry.raw == 0) co_return entry;
  std::vector<std::byte> part(cluster_size());
  const Result<void> read = co_await read_bitmap_part(file_, entry, part);
  if (!read) co_return fail(read.error());
  const std::vector<std::byte> before = part;
  clear_bits_from(part, bits);
  if (entry.offset() != 0) {
    if (part == before) co_return entry;
    change.replaced.push_back({cluster_of(entry.offset()), 1});
  }
  if (all_are(part, std::byte{0})) co_return BitmapTableEntry{};
  const Result<uint64_t> offset = co_await write_table(part, change);
  if (!offset) co_return fail(offset.error());
  co_return BitmapTableEntry{*offset};
}

/// `old` for a disk of another size. Data clusters that stay as they are belong to both.
Task<Result<BitmapEntry>> Image::bitmap_for(uint64_t size, const BitmapEntry& old,
                                            NewBitmaps& change) {
  const auto before = co_await read_bitmap_table(file_, header_, old);
  if (!before) co_return fail(before.error());
  Header later = header_;
  later.size = size;
  const uint64_t clusters = bitmap_clusters(later, old.granularity_bits);
  if (clusters > kMaxBitmapBytes / cluster_size()) {
    co_return fail(Error(ErrorCode::kTooLarge,
                         fmt::format("bitmap \"{}\" would need {} clusters, at most {} are allowed",
                                     old.name, clusters, kMaxBitmapBytes / cluster_size()))
                       .because("bitmap-too-large", {old.name}));
  }
  std::vector<BitmapTableEntry> table(std::max<uint64_t>(clusters, 1));
  // What was marked since it was opened was not kept up to date: nothing of it is worth keeping.
  const uint64_t kept =
      old.in_use() ? 0 : bitmap_bits(std::min(header_.virtual_size(), size), old.granularity_bits);
  const uint64_t per_cluster = cluster_size() * 8;
  for (uint64_t i = 0; i < before->size(); ++i) {
    const BitmapTableEntry entry = (*before)[i];
    const uint64_t left = kept - std::min(kept, i * per_cluster);
    if (left >= per_cluster) {
      table[i] = entry;
    } else if (left != 0) {
      const Result<BitmapTableEntry> part = co_await shortened_part(entry, left, change);
      if (!part) co_return fail(part.error());
      table[i] = *part;
    } else if (entry.offset() != 0) {
      change.replaced.push_back({cluster_of(entry.offset()), 1});
    }
  }
  const std::vector<std::byte> bytes = encode_bitmap_table(table);
  const Result<uint64_t> offset = co_await write_table(bytes, change);
  if (!offset) co_return fail(offset.error());
  change.replaced.push_back(
      {cluster_of(old.table_offset), divide_up(old.table_bytes(), cluster_size())});
  BitmapEntry entry = old;
  entry.table_offset = *offset;
  entry.table_size = static_cast<uint32_t>(table.size());
  co_return entry;
}

Task<Result<void>> Image::fill_new_bitmaps(uint64_t size, std::vector<BitmapEntry> bitmaps,
                                           NewBitmaps& change) {
  for (BitmapEntry& bitmap : bitmaps) {
    auto fitting = co_await bitmap_for(size, bitmap, change);
    if (!fitting) co_return fail(fitting.error().within("fit bitmap", bitmap.name));
    bitmap = std::move(*fitting);
  }
  co_return co_await write_directory(bitmaps, size, change);
}

/// Bitmaps for a disk of `size` bytes, to be switched to with the size itself.
Task<Result<void>> Image::prepare_bitmaps_for(uint64_t size) {
  auto bitmaps = co_await read_bitmap_directory(file_, header_);
  if (!bitmaps) co_return fail(bitmaps.error());
  for (const BitmapEntry& bitmap : *bitmaps) {
    const bool ours = std::ranges::find(bitmaps_marked_, bitmap.name) != bitmaps_marked_.end();
    if (!bitmap.in_use() || ours) continue;
    co_return fail(
        Error(ErrorCode::kUnsupported,
              fmt::format("bitmap \"{}\" was not saved by whoever wrote to the disk last; the "
                          "disk can be resized once it is removed",
                          bitmap.name))
            .because("bitmap-inconsistent", {bitmap.name}));
  }
  new_bitmaps_.emplace();
  const Result<void> done = co_await fill_new_bitmaps(size, std::move(*bitmaps), *new_bitmaps_);
  if (!done) co_await drop_new_bitmaps();
  co_return done;
}

}  // namespace ashlar::qcow2
