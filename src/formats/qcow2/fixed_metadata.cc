// Where the tables are that an image has once.
#include "formats/qcow2/fixed_metadata.h"

#include <algorithm>

namespace ashlar::qcow2 {

FixedMetadata::FixedMetadata(const Header& header, const SnapshotTable& snapshots,
                             const StoredRefcounts& stored)
    : cluster_size_(header.cluster_size()) {
  const auto add = [this](uint64_t offset, uint64_t length) {
    if (length != 0) tables_.push_back(whole_clusters(offset, length));
  };
  add(0, cluster_size_);
  add(header.refcount_table_offset, header.refcount_table_clusters * cluster_size_);
  add(header.snapshots_offset, snapshots.bytes);
  if (header.encryption) add(header.encryption->offset, header.encryption->length);
  if (const BitmapsExtension* bitmaps = header.valid_bitmaps()) {
    add(bitmaps->directory_offset, bitmaps->directory_size);
  }
  for (const Snapshot& snapshot : snapshots.snapshots) {
    if (snapshot_l1_problem(snapshot, header)) continue;
    add(snapshot.l1_table_offset, snapshot.l1_bytes());
  }
  std::ranges::sort(tables_, {}, &ByteRange::offset);
  for (const ByteRange& table : tables_) longest_ = std::max(longest_, table.length);
  for (const RefcountTableEntry entry : stored.table()) {
    if (entry.offset() != 0) blocks_.push_back(entry.offset());
  }
  std::ranges::sort(blocks_);

  l1_ = whole_clusters(header.l1_table_offset, header.l1_bytes());
  l1_is_alone_ = !meets_tables(l1_) && !meets_blocks(l1_);
  blocks_are_alone_ = std::ranges::none_of(blocks_, [this](uint64_t offset) {
    const ByteRange block(offset, cluster_size_);
    return meets_tables(block) || block.overlaps(l1_);
  });
}

ByteRange FixedMetadata::whole_clusters(uint64_t offset, uint64_t length) const {
  const uint64_t start = align_down(offset, cluster_size_);
  return {start, align_up(offset + length, cluster_size_) - start};
}

bool FixedMetadata::meets_tables(ByteRange range) const {
  // Whatever starts longer before `range` than the longest table is cannot reach it.
  const uint64_t from = range.offset > longest_ ? range.offset - longest_ : 0;
  auto table = std::ranges::lower_bound(tables_, from, {}, &ByteRange::offset);
  for (; table != tables_.end() && table->offset < range.end(); ++table) {
    if (table->overlaps(range)) return true;
  }
  return false;
}

bool FixedMetadata::meets_blocks(ByteRange range) const {
  const uint64_t from = range.offset >= cluster_size_ ? range.offset - cluster_size_ + 1 : 0;
  const auto block = std::ranges::lower_bound(blocks_, from);
  return block != blocks_.end() && *block < range.end();
}

bool FixedMetadata::is_free_for_l2(uint64_t offset) const {
  const ByteRange table(offset, cluster_size_);
  return is_aligned(offset, cluster_size_) && !meets_tables(table) && !meets_blocks(table) &&
         !table.overlaps(l1_);
}

}  // namespace ashlar::qcow2
