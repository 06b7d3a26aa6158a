// New refcount blocks, and a larger refcount table when the old one is full.
#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "base/endian.h"
#include "formats/qcow2/refcount_bits.h"
#include "formats/qcow2/refcounts.h"

namespace ashlar::qcow2 {

/// Adds the block for table entry `index` in the first cluster that it counts: nothing there has
/// had a refcount before, so all of it is free.
Task<Result<void>> Refcounts::add_block(uint64_t index) {
  if (index >= table_.size()) {
    Result<void> grown = co_await grow_table(index);
    if (!grown) co_return grown;
    if (table_[index] != 0) co_return ok();
  }
  const Header& header = setup_.header;
  const uint64_t cluster = index * header.refcounts_per_block();
  const uint64_t offset = cluster * header.cluster_size();
  if (const char* what = setup_.metadata.find({offset, header.cluster_size()})) {
    co_return fail(
        Error(ErrorCode::kCorrupt,
              fmt::format("no refcount block counts the cluster at {:#x}, which holds the {}",
                          offset, what))
            .because("qcow2-overlap", {what, fmt::format("{}", offset)}));
  }
  // All of the block is written, so that nothing stale in its cluster becomes a refcount.
  for (uint64_t i = 0; i < parts_per_block(); ++i) {
    Part part;
    part.bytes.resize(part_bytes_);
    part.host_offset = offset + i * part_bytes_;
    Part& added =
        parts_.insert_or_assign(cluster / entries_per_part() + i, std::move(part)).first->second;
    mark_dirty(added);
    if (i == 0) set_refcount(added.bytes, 0, header.refcount_order, 1);
  }
  table_[index] = offset;
  dirty_table_.push_back(index);
  setup_.metadata.add({offset, header.cluster_size()}, "refcount block");
  co_return ok();
}

/// Moves the table to where it has room for entry `index` and half as many again. The new area lies
/// behind all clusters that the old table could count, and its first clusters are the blocks that
/// count the area itself.
Task<Result<void>> Refcounts::grow_table(uint64_t index) {
  const Header& header = setup_.header;
  const uint64_t per_block = header.refcounts_per_block();
  const uint64_t per_cluster = header.cluster_size() / 8;
  const uint64_t first_cluster = table_.size() * per_block;
  uint64_t entries = std::max(index + 1, table_.size() + table_.size() / 2 + 1);
  uint64_t blocks = 1;
  uint64_t table_clusters = 0;
  while (true) {
    entries = std::max(entries, table_.size() + blocks);
    table_clusters = divide_up(entries, per_cluster);
    const uint64_t needed = divide_up(blocks + table_clusters, per_block);
    if (needed <= blocks) break;
    blocks = needed;
  }
  entries = table_clusters * per_cluster;
  if (entries * 8 > kMaxRefcountTableBytes) {
    co_return fail(
        Error(ErrorCode::kNoSpace,
              fmt::format("the refcount table would need {} bytes, more than the limit of {}",
                          entries * 8, kMaxRefcountTableBytes))
            .because("qcow2-refcount-table-full"));
  }
  co_return co_await write_grown_table(first_cluster, blocks, entries);
}

Task<Result<void>> Refcounts::write_grown_table(uint64_t first_cluster, uint64_t blocks,
                                                uint64_t entries) {
  Header& header = setup_.header;
  const uint64_t size = header.cluster_size();
  const uint64_t table_clusters = entries * 8 / size;
  // Everything the old table was going to point to must be there before the new one does.
  Result<void> done = co_await write_dirty_parts();
  if (!done) co_return done;

  std::vector<std::byte> area((blocks + table_clusters) * size);
  const std::span<std::byte> counts(area.data(), blocks * size);
  for (uint64_t i = 0; i < blocks + table_clusters; ++i) {
    set_refcount(counts, i, header.refcount_order, 1);
  }
  std::vector<uint64_t> table = table_;
  table.resize(entries, 0);
  for (uint64_t i = 0; i < blocks; ++i) table[table_.size() + i] = (first_cluster + i) * size;
  for (uint64_t i = 0; i < entries; ++i) {
    store_be<uint64_t>(area.data() + blocks * size + i * 8, table[i]);
  }
  const ByteRange where{first_cluster * size, area.size()};
  const ConstBuffers bytes(area.data(), area.size());
  done = co_await setup_.file.write(where, bytes, {});
  if (done) done = co_await setup_.file.flush();
  if (!done) co_return done;

  const ByteRange old_table{header.refcount_table_offset, header.refcount_table_clusters * size};
  const uint64_t old_clusters = header.refcount_table_clusters;
  header.refcount_table_offset = (first_cluster + blocks) * size;
  header.refcount_table_clusters = static_cast<uint32_t>(table_clusters);
  done = co_await setup_.write_header();
  if (!done) {
    header.refcount_table_offset = old_table.offset;
    header.refcount_table_clusters = static_cast<uint32_t>(old_clusters);
    co_return done;
  }
  table_ = std::move(table);
  setup_.metadata.remove(old_table);
  setup_.metadata.add({first_cluster * size, blocks * size}, "refcount block");
  setup_.metadata.add({header.refcount_table_offset, table_clusters * size}, "refcount table");
  dirty_table_.clear();
  setup_.free_later({old_table.offset / size, old_clusters});
  co_return ok();
}

/// Writes all changed blocks, durably. They stay dirty: a write-back that took its copies before
/// may still put older counts in their place, which is as good for what is durable by then.
Task<Result<void>> Refcounts::write_dirty_parts() {
  for (auto& [key, part] : parts_) {
    if (!part.dirty) continue;
    const ByteRange where{part.host_offset, part.bytes.size()};
    const ConstBuffers bytes(part.bytes.data(), part.bytes.size());
    Result<void> done = co_await setup_.file.write(where, bytes, {});
    if (!done) co_return done;
  }
  co_return co_await setup_.file.flush();
}

}  // namespace ashlar::qcow2
