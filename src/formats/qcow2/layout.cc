// Where the tables of a new image go.
#include "formats/qcow2/layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"

namespace ashlar::qcow2 {

uint64_t ClusterDispenser::take(uint64_t count) {
  const uint64_t start = next_;
  next_ += count;
  const uint64_t last = (next_ - 1) / per_block_;
  for (uint64_t wanted = start / per_block_; wanted <= last; ++wanted) {
    // A new block may itself lie where no block counts yet.
    for (uint64_t block = wanted;;) {
      if (blocks_.size() <= block) blocks_.resize(block + 1);
      if (blocks_[block] != 0) break;
      blocks_[block] = next_++;
      block = blocks_[block] / per_block_;
    }
  }
  return start;
}

Layout::Layout(const Header& header, const LayoutRequest& request)
    : request_(request),
      l2_entries_(header.l2_entries()),
      l1_clusters_(divide_up(header.l1_bytes(), header.cluster_size())),
      after_l1_(header.refcounts_per_block()) {}

/// Header, refcount table, first refcount block, L1 table.
void Layout::place_fixed(const Header& header, uint64_t table_clusters) {
  ClusterDispenser dispenser(header.refcounts_per_block());
  dispenser.take(1 + table_clusters);
  refcount_table_ = 1;
  refcount_table_clusters_ = table_clusters;
  l1_table_ = l1_clusters_ == 0 ? 0 : dispenser.take(l1_clusters_);
  after_l1_ = dispenser;
}

TablePlace Layout::take_table(ClusterDispenser& dispenser, uint64_t index) const {
  TablePlace place;
  place.table = dispenser.take(1);
  const uint64_t first = index * l2_entries_;
  const uint64_t data =
      first < request_.data_clusters ? std::min(request_.data_clusters - first, l2_entries_) : 0;
  if (data != 0) place.data = dispenser.take(data);
  return place;
}

void Layout::place_interleaved() {
  ClusterDispenser dispenser = after_l1_;
  TablePlace last;
  for (uint64_t index = 0; index < request_.l2_tables; ++index) last = take_table(dispenser, index);
  const uint64_t in_last_table = (request_.data_clusters + l2_entries_ - 1) % l2_entries_ + 1;
  ends_with_data_ = last.data != 0 && dispenser.next() == last.data + in_last_table;
  blocks_ = dispenser.blocks();
  end_ = dispenser.next();
}

/// A new refcount structure for everything, then data, then L2 tables. The first of those use the
/// clusters of the first refcount table.
void Layout::place_bulk(const Header& header) {
  const uint64_t per_block = header.refcounts_per_block();
  const uint64_t start = after_l1_.next();
  const uint64_t had_blocks = after_l1_.blocks().size();
  const uint64_t content = request_.data_clusters + request_.l2_tables;
  uint64_t blocks = had_blocks;
  uint64_t table = 1;
  for (;;) {
    // As generous as the peer, which counts what it keeps once more, and one cluster.
    const uint64_t all = start + blocks + table + content + 1;
    const uint64_t needed_blocks = std::max(had_blocks, divide_up(all, per_block));
    const uint64_t needed_table = divide_up(needed_blocks * 8, header.cluster_size());
    if (needed_blocks == blocks && needed_table == table) break;
    blocks = needed_blocks;
    table = needed_table;
  }
  free_from_ = 1;
  free_end_ = 1 + refcount_table_clusters_;
  blocks_ = after_l1_.blocks();
  uint64_t next = start;
  while (blocks_.size() < blocks) blocks_.push_back(next++);
  refcount_table_ = next;
  refcount_table_clusters_ = table;
  bulk_data_ = next + table;
  const uint64_t reused = std::min(request_.l2_tables, free_end_ - free_from_);
  end_ = bulk_data_ + request_.data_clusters + request_.l2_tables - reused;
  free_from_ += reused;
}

Result<Layout> Layout::plan(const Header& header, const LayoutRequest& request) {
  Layout layout(header, request);
  const uint64_t most_clusters = kMaxRefcountTableBytes / header.cluster_size();
  // Clusters that any structure can count: no plan beyond them is even tried.
  const uint64_t most_counted = kMaxRefcountTableBytes / 8 * header.refcounts_per_block();
  uint64_t table = 1;
  while (request.data_clusters + request.l2_tables < most_counted && table <= most_clusters) {
    layout.place_fixed(header, table);
    if (request.shape == LayoutShape::kBulk) {
      layout.place_bulk(header);
      if (layout.refcount_table_clusters_ <= most_clusters) return layout;
      break;
    }
    layout.place_interleaved();
    const uint64_t needed = divide_up(layout.blocks_.size() * 8, header.cluster_size());
    if (needed <= table) return layout;
    table = needed;
  }
  return fail(Error(ErrorCode::kTooLarge,
                    fmt::format("the refcount table for {} clusters of {} bytes exceeds {} MiB",
                                request.data_clusters + request.l2_tables, header.cluster_size(),
                                kMaxRefcountTableBytes / 1_MiB))
                  .because("qcow2-create-size"));
}

uint64_t Layout::file_bytes(const Header& header) const {
  // As long as what was written last: a lone L1 table ends where its entries do.
  if (l1_table_ != 0 && end_ == l1_table_ + l1_clusters_) {
    return l1_table_ * header.cluster_size() + header.l1_bytes();
  }
  // Data that comes last ends where the subclusters that hold the disk do.
  if (request_.shape == LayoutShape::kInterleaved && ends_with_data_) {
    const uint64_t unused = request_.data_clusters * header.cluster_size() -
                            align_up(header.size, header.subcluster_size());
    return end_ * header.cluster_size() - unused;
  }
  return end_ * header.cluster_size();
}

TablePlace Layout::Tables::next() {
  const uint64_t index = index_++;
  if (layout_.request_.shape == LayoutShape::kInterleaved) {
    return layout_.take_table(dispenser_, index);
  }
  const uint64_t reused = layout_.free_from_ - 1;
  TablePlace place;
  place.table = index < reused
                    ? 1 + index
                    : layout_.bulk_data_ + layout_.request_.data_clusters + index - reused;
  place.data = layout_.bulk_data_ + index * layout_.l2_entries_;
  return place;
}

}  // namespace ashlar::qcow2
