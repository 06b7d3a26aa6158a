// Goes through everything an image refers to.
#include "formats/qcow2/check_references.h"

#include <algorithm>

#include "ashlar/driver.h"
#include "base/endian.h"
#include "formats/qcow2/bitmap_directory.h"

namespace ashlar::qcow2 {
namespace {

// Work that no image that anybody uses comes near: 8 GiB of L1 tables, and tables with errors
// that are shared by snapshots and so have to be looked at again.
constexpr uint64_t kMaxL1Entries = uint64_t{1} << 30;
constexpr uint64_t kMaxDamagedTables = uint64_t{1} << 16;
// Clean tables that are remembered, so that those that snapshots share are gone through once.
constexpr size_t kMaxCleanTables = size_t{1} << 18;
// References past the end of the file that are remembered for a rebuild.
constexpr size_t kMaxDangling = size_t{1} << 16;

}  // namespace

ReferenceWalk::ReferenceWalk(const Parts& parts)
    : file_(parts.file),
      header_(parts.header),
      snapshots_(parts.snapshots),
      stored_(parts.stored),
      fixed_(parts.fixed),
      counts_(parts.counts),
      log_(parts.log),
      repair_(parts.repair),
      file_size_(parts.file.size()),
      layout_(parts.header.cluster_bits),
      l1_reader_(parts.file),
      table_(parts.header.cluster_size()) {}

void ReferenceWalk::count_cluster(uint64_t cluster) {
  switch (counts_.add(cluster, times_)) {
    case ReferenceCounts::Added::kYes:
      return;
    case ReferenceCounts::Added::kNoMemory:
      out_of_memory_ = true;
      return;
    case ReferenceCounts::Added::kAtMost:
      ++findings_;
      log_.corruption("qcow2-check-overflow", {hex(cluster << header_.cluster_bits)},
                      fmt::format("cluster at 0x{:x} has more references than a refcount of {} "
                                  "bits can say",
                                  cluster << header_.cluster_bits, header_.refcount_bits()));
      return;
  }
}

void ReferenceWalk::count(uint64_t offset, uint64_t length) {
  if (length == 0) return;
  // The last cluster may be there in part; lengths are below 2^40.
  if (offset > kMaxDeviceSize - length || offset + length >= file_size_ + header_.cluster_size()) {
    ++findings_;
    log_.corruption("qcow2-check-outside", {hex(offset), hex(length)},
                    fmt::format("{} bytes at 0x{:x} are past the end of the file at 0x{:x}", length,
                                offset, file_size_));
    note_dangling(offset, length);
    return;
  }
  const uint64_t last = (offset + length - 1) >> header_.cluster_bits;
  for (uint64_t cluster = offset >> header_.cluster_bits; cluster <= last; ++cluster) {
    count_cluster(cluster);
  }
}

void ReferenceWalk::note_dangling(uint64_t offset, uint64_t length) {
  if (!dangling_ || length > kMaxDeviceSize - std::min(offset, kMaxDeviceSize)) return;
  if (dangling_->size() == kMaxDangling) {
    dangling_.reset();
    return;
  }
  dangling_->emplace_back(offset, length);
}

Result<void> ReferenceWalk::state() const {
  if (!out_of_memory_) return ok();
  return fail(Error(ErrorCode::kNoMemory, fmt::format("counting references needs more than {} MiB",
                                                      ReferenceCounts::kMaxBytes / 1_MiB))
                  .because("qcow2-check-memory"));
}

Task<Result<void>> ReferenceWalk::run() {
  count(0, header_.cluster_size());
  auto done = co_await walk_l1(header_.l1_table_offset, header_.l1_size, Table::kActive);
  if (!done) co_return done;
  done = co_await walk_snapshots();
  if (!done) co_return done;
  done = co_await count_shared();
  if (!done) co_return done;
  count(header_.snapshots_offset, snapshots_.bytes);
  if (header_.encryption) count(header_.encryption->offset, header_.encryption->length);
  done = co_await walk_bitmaps();
  if (!done) co_return done;
  walk_refcount_structure();
  co_return state();
}

Task<Result<void>> ReferenceWalk::walk_snapshots() {
  for (const Snapshot& snapshot : snapshots_.snapshots) {
    if (const auto problem = snapshot_l1_problem(snapshot, header_)) {
      const auto values = problem->values();
      log_.corruption(problem->reason() == "qcow2-snapshot-l1-size" ? "qcow2-check-snapshot-l1-size"
                                                                    : "qcow2-check-snapshot-l1",
                      {values.begin(), values.end()}, problem->message());
      continue;
    }
    auto done = co_await walk_l1(snapshot.l1_table_offset, snapshot.l1_size, Table::kOfSnapshot);
    if (!done) co_return done;
  }
  co_return ok();
}

Task<Result<void>> ReferenceWalk::walk_l1(uint64_t offset, uint64_t entries, Table kind) {
  count(offset, entries * 8);
  l1_entries_ += entries;
  if (l1_entries_ > kMaxL1Entries) {
    co_return fail(Error(ErrorCode::kTooLarge,
                         fmt::format("the L1 tables of all snapshots have more than {} entries",
                                     kMaxL1Entries))
                       .because("qcow2-check-work"));
  }
  const uint64_t end = offset + entries * 8;
  for (uint64_t at = offset; at < end;) {
    const ByteRange part(at, std::min<uint64_t>(end - at, MetadataReader::kWindow));
    const auto bytes = co_await l1_reader_.view(part, end);
    if (!bytes) co_return fail(bytes.error().within("read L1 table"));
    for (size_t i = 0; i < bytes->size(); i += 8) {
      const L1Entry entry{load_be<uint64_t>(bytes->data() + i)};
      if (entry.raw == 0) continue;
      if (entry.has_reserved_bits()) {
        log_.corruption(
            "qcow2-check-l1-reserved", {hex(entry.raw)},
            fmt::format("L1 entry 0x{:x} at 0x{:x} has reserved bits set", entry.raw, at + i));
      }
      const L2Place place{entry.offset(), kind};
      auto done = co_await visit_l2(place);
      if (!done) co_return done;
    }
    at += part.length;
  }
  co_return state();
}

/// Counts an L2 table and what it refers to.
Task<Result<void>> ReferenceWalk::visit_l2(L2Place place) {
  count(place.offset, header_.cluster_size());
  if (!is_aligned(place.offset, header_.cluster_size())) {
    log_.corruption("qcow2-check-l1-unaligned", {hex(place.offset)},
                    fmt::format("L2 table at 0x{:x} is not aligned to clusters", place.offset));
  }
  const auto known = clean_.find(place.offset);
  if (known == clean_.end()) co_return co_await walk_l2(place);
  CleanTable& table = known->second;
  ++table.met_again;
  if (place.kind == Table::kActive) {
    CheckReport& report = log_.report();
    report.allocated_clusters += table.allocated;
    report.fragmented_clusters += table.fragmented;
    report.compressed_clusters += table.compressed;
  }
  co_return ok();
}

void ReferenceWalk::remember(uint64_t offset, const CheckReport& before) {
  if (clean_.size() == kMaxCleanTables) return;
  const CheckReport& now = log_.report();
  CleanTable& table = clean_[offset];
  table.allocated = static_cast<uint32_t>(now.allocated_clusters - before.allocated_clusters);
  table.fragmented = static_cast<uint32_t>(now.fragmented_clusters - before.fragmented_clusters);
  table.compressed = static_cast<uint32_t>(now.compressed_clusters - before.compressed_clusters);
}

Task<Result<void>> ReferenceWalk::walk_l2(L2Place place) {
  if (place.offset < file_size_) {
    const ByteRange where(place.offset, table_.size());
    const MutableBuffers into(table_.data(), table_.size());
    auto done = co_await file_.read(where, into);
    if (!done) co_return fail(done.error().within("read L2 table"));
  } else {
    std::ranges::fill(table_, std::byte{0});
  }
  table_changed_ = false;
  next_offset_ = 0;
  findings_ = 0;
  const CheckReport before = log_.report();
  visit_entries(place);
  if (table_changed_) {
    const ByteRange where(place.offset, table_.size());
    const ConstBuffers from(table_.data(), table_.size());
    auto done = co_await file_.write(where, from);
    if (!done) co_return fail(done.error().within("write L2 table"));
    changed_tables_ = true;
  }
  if (findings_ == 0) {
    remember(place.offset, before);
  } else if (++damaged_tables_ > kMaxDamagedTables) {
    co_return fail(Error(ErrorCode::kTooLarge,
                         fmt::format("more than {} L2 tables have errors", kMaxDamagedTables))
                       .because("qcow2-check-work"));
  }
  co_return state();
}

/// Adds what tables that snapshots share refer to, once for every time that they were met again.
Task<Result<void>> ReferenceWalk::count_shared() {
  for (const auto& [offset, table] : clean_) {
    if (table.met_again == 0 || offset >= file_size_) continue;
    const ByteRange where(offset, table_.size());
    const MutableBuffers into(table_.data(), table_.size());
    auto done = co_await file_.read(where, into);
    if (!done) co_return fail(done.error().within("read L2 table"));
    times_ = table.met_again;
    visit_entries({offset, Table::kOfSnapshot});
  }
  times_ = 1;
  co_return state();
}

void ReferenceWalk::visit_entries(L2Place place) {
  if (header_.has_extended_l2() || header_.has_data_file()) {
    for (size_t i = 0; i < header_.l2_entries(); ++i) visit_entry(i, place);
    return;
  }
  // What is an ordinary cluster is settled here, in one go.
  const uint64_t unusual = ~(kOffsetMask | kCopiedFlag) | (header_.cluster_size() - 1);
  const size_t entries = header_.l2_entries();
  for (size_t i = 0; i < entries; ++i) {
    const uint64_t raw = load_be<uint64_t>(table_.data() + i * 8);
    if (raw == 0) continue;
    const uint64_t offset = raw & kOffsetMask;
    const bool ordinary = (raw & unusual) == 0 && offset != 0 && offset < file_size_;
    if (!ordinary) {
      visit_entry(i, place);
      continue;
    }
    note_position(offset, place.kind);
    count_cluster(offset >> header_.cluster_bits);
  }
}

void ReferenceWalk::visit_entry(size_t index, L2Place place) {
  const L2Entry entry{load_be<uint64_t>(table_.data() + index * header_.l2_entry_bytes())};
  uint64_t bitmap = 0;
  if (header_.has_extended_l2()) bitmap = load_be<uint64_t>(table_.data() + index * 16 + 8);
  if (entry.raw == 0 && bitmap == 0) return;
  if (entry.compressed()) {
    visit_compressed(index, entry, bitmap, place.kind);
  } else {
    visit_standard(index, entry, bitmap, place);
  }
}

/// Statistics of the disk itself.
void ReferenceWalk::note_position(uint64_t offset, Table kind) {
  if (kind != Table::kActive) return;
  CheckReport& report = log_.report();
  ++report.allocated_clusters;
  if (next_offset_ != 0 && offset != next_offset_) ++report.fragmented_clusters;
  next_offset_ = offset + header_.cluster_size();
}

void ReferenceWalk::visit_compressed(size_t index, L2Entry entry, uint64_t bitmap, Table kind) {
  if (entry.copied()) {
    ++findings_;
    const uint64_t offset = layout_.decode(entry.raw).offset;
    log_.corruption("qcow2-check-compressed-copied", {hex(offset)},
                    fmt::format("compressed cluster at 0x{:x} has the copied flag", offset));
    entry.raw &= ~kCopiedFlag;
  }
  const auto refuse = [&](std::string_view reason, const char* what) {
    ++findings_;
    log_.corruption(reason, {std::to_string(index), hex(entry.raw)},
                    fmt::format("L2 entry {} (0x{:x}) is compressed {}", index, entry.raw, what));
  };
  if (header_.has_data_file()) {
    return refuse("qcow2-check-compressed-data-file", "in an image with an external data file");
  }
  if (bitmap != 0) {
    return refuse("qcow2-check-compressed-bitmap", "and has a subcluster bitmap");
  }
  const CompressedExtent extent = layout_.decode(entry.raw);
  count(extent.offset, extent.length);
  if (kind != Table::kActive) return;
  CheckReport& report = log_.report();
  ++report.allocated_clusters;
  ++report.compressed_clusters;
  // Compressed clusters are fragmented by nature.
  ++report.fragmented_clusters;
}

/// Whether the subcluster bitmap fits the entry.
void ReferenceWalk::check_bitmap(ClusterKind cluster, L2Entry entry, uint64_t bitmap) {
  const SubclusterBitmap bits{bitmap};
  if (cluster == ClusterKind::kUnallocated) {
    if (bits.allocated() == 0) return;
    ++findings_;
    log_.corruption("qcow2-check-subclusters-unallocated", {},
                    "an unallocated cluster has allocated subclusters");
  } else if (bits.contradicts_itself()) {
    ++findings_;
    log_.corruption("qcow2-check-subclusters", {hex(entry.offset())},
                    fmt::format("cluster at 0x{:x} has subclusters that are allocated and zero",
                                entry.offset()));
  }
}

/// Room that is not a cluster cannot be used; nothing is lost when it is forgotten.
bool ReferenceWalk::repair_room(size_t index, L2Place place) {
  const bool writable = place.offset < file_size_ && fixed_.is_free_for_l2(place.offset);
  if (repair_ != Repair::kAll || !writable) return false;
  // Extended entries keep the bitmap, which says what reads as zeroes.
  const L2Entry zero = header_.has_extended_l2() ? L2Entry{} : L2Entry::zero_plain();
  store_be(table_.data() + index * header_.l2_entry_bytes(), zero.raw);
  table_changed_ = true;
  return true;
}

void ReferenceWalk::visit_standard(size_t index, L2Entry entry, uint64_t bitmap, L2Place place) {
  constexpr EntryRules kZeroFlagAllowed = {};
  if (entry.has_reserved_bits(kZeroFlagAllowed)) {
    ++findings_;
    log_.corruption("qcow2-check-l2-reserved", {hex(entry.raw)},
                    fmt::format("L2 entry 0x{:x} has reserved bits set", entry.raw));
  }
  const ClusterKind kind = entry.kind(rules());
  if (header_.has_extended_l2()) check_bitmap(kind, entry, bitmap);
  if (kind != ClusterKind::kNormal && kind != ClusterKind::kZeroAllocated) return;

  if (!is_aligned(entry.offset(), header_.cluster_size())) {
    ++findings_;
    const bool holds_data = header_.has_extended_l2() ? SubclusterBitmap{bitmap}.allocated() != 0
                                                      : kind == ClusterKind::kNormal;
    CheckLog::Values values = {hex(entry.offset())};
    std::string message = fmt::format("{} at 0x{:x} is not aligned to clusters",
                                      holds_data ? "data" : "room", entry.offset());
    if (holds_data) {
      log_.corruption("qcow2-check-data-unaligned", std::move(values), std::move(message));
    } else if (repair_room(index, place)) {
      log_.repaired_corruption("qcow2-check-room-unaligned-repair", std::move(values),
                               std::move(message));
      return;
    } else {
      log_.corruption("qcow2-check-room-unaligned", std::move(values), std::move(message));
    }
  }
  note_position(entry.offset(), place.kind);
  if (!header_.has_data_file()) count(entry.offset(), header_.cluster_size());
}

Task<Result<void>> ReferenceWalk::walk_bitmaps() {
  const BitmapsExtension* const where = header_.valid_bitmaps();
  if (where == nullptr) co_return ok();
  count(where->directory_offset, where->directory_size);
  const auto bitmaps = co_await read_bitmap_directory(file_, header_);
  if (!bitmaps) co_return fail(bitmaps.error());
  for (const BitmapEntry& bitmap : *bitmaps) {
    count(bitmap.table_offset, bitmap.table_bytes());
    auto done = co_await walk_bitmap_table(bitmap.table_offset, bitmap.table_size);
    if (!done) co_return fail(done.error().within("bitmap", bitmap.name));
  }
  co_return ok();
}

Task<Result<void>> ReferenceWalk::walk_bitmap_table(uint64_t offset, uint64_t entries) {
  const uint64_t end = offset + entries * 8;
  for (uint64_t at = offset; at < end;) {
    const ByteRange part(at, std::min<uint64_t>(end - at, MetadataReader::kWindow));
    const auto bytes = co_await l1_reader_.view(part, end);
    if (!bytes) co_return fail(bytes.error().within("read bitmap table"));
    for (size_t i = 0; i < bytes->size(); i += 8) {
      const BitmapTableEntry entry{load_be<uint64_t>(bytes->data() + i)};
      if (!entry.is_valid(header_.cluster_size())) {
        co_return fail(Error(ErrorCode::kInvalidArgument,
                             fmt::format("table entry 0x{:x} at 0x{:x} is unaligned or has "
                                         "reserved bits set",
                                         entry.raw, at + i))
                           .because("qcow2-check-bitmap-table"));
      }
      if (entry.offset() != 0) count(entry.offset(), header_.cluster_size());
    }
    at += part.length;
  }
  co_return state();
}

void ReferenceWalk::walk_refcount_structure() {
  count(header_.refcount_table_offset, header_.refcount_table_clusters * header_.cluster_size());
  if (!fixed_.blocks_are_alone()) needs_rebuild_ = true;
  for (uint64_t i = 0; i < stored_.table().size(); ++i) visit_refcount_block(i);
}

void ReferenceWalk::visit_refcount_block(uint64_t index) {
  const RefcountTableEntry entry = stored_.table()[index];
  if (entry.raw == 0) return;
  const std::string number = std::to_string(index);
  if (entry.has_reserved_bits()) {
    needs_rebuild_ = true;
    if (entry.offset() != 0) table_is_foreign_ = true;
    return log_.corruption(
        "qcow2-check-table-reserved", {number},
        fmt::format("refcount table entry {} (0x{:x}) has reserved bits set", index, entry.raw));
  }
  const uint64_t offset = entry.offset();
  if (!is_aligned(offset, header_.cluster_size())) {
    needs_rebuild_ = table_is_foreign_ = true;
    return log_.corruption(
        "qcow2-check-block-unaligned", {number},
        fmt::format("refcount block {} at 0x{:x} is not aligned to clusters", index, offset));
  }
  if (offset >= file_size_) {
    const std::string message =
        fmt::format("refcount block {} at 0x{:x} is past the end of the file", index, offset);
    if (repair_ != Repair::kAll) {
      return log_.corruption("qcow2-check-block-outside", {number}, message);
    }
    // The rebuilt structure does without it.
    needs_rebuild_ = true;
    return log_.repaired_corruption("qcow2-check-block-outside-repair", {number}, message);
  }
  count(offset, header_.cluster_size());
  const uint64_t references = counts_.get(offset >> header_.cluster_bits);
  if (references == 1) return;
  needs_rebuild_ = true;
  log_.corruption(
      "qcow2-check-block-refcount", {number, std::to_string(references)},
      fmt::format("refcount block {} at 0x{:x} is referenced {} times", index, offset, references));
}

}  // namespace ashlar::qcow2
