// Refcounts of host clusters, and the only place that hands out clusters: it trusts nothing but
// refcounts it has read. Specification: docs/interop/qcow2.rst, "Host cluster management".
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <vector>

#include "ashlar/driver.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/metadata_ranges.h"

namespace ashlar::qcow2 {

/// Clusters next to each other.
struct ClusterRun {
  uint64_t first = 0;
  uint64_t count = 0;

  constexpr ClusterRun() {}  // NOLINT(modernize-use-equals-default): see ByteRange
  constexpr ClusterRun(uint64_t from, uint64_t clusters) : first(from), count(clusters) {}
  constexpr bool contains(uint64_t cluster) const {
    return cluster >= first && cluster - first < count;
  }
};

/// The refcount table and a bounded part of the blocks. All of it under the image's metadata lock.
///
/// In memory refcounts only go up at once; they go down when the caller knows that nothing durable
/// points to the cluster any more. So writing back any block at any time leaves leaks at worst.
class Refcounts {
 public:
  struct Setup {
    Header& header;
    Child& file;
    MetadataRanges& metadata;
    uint64_t max_bytes = 4_MiB;
    /// Writes the header with new table fields, durably. Called in the middle of growing.
    std::function<Task<Result<void>>()> write_header;
    /// Gives clusters back once nobody in flight can still write there.
    std::function<void(ClusterRun)> free_later;
  };
  explicit Refcounts(Setup setup) : setup_(std::move(setup)) {}

  /// Reads the refcount table. Errors: kCorrupt (reason "qcow2-refcount-block") for bad entries
  /// are reported when a block is used.
  Task<Result<void>> load();

  Task<Result<uint64_t>> get(uint64_t cluster);

  /// Up to `want` free clusters next to each other, at least one, now with refcount 1.
  /// Errors: kNoSpace at the format's end, kCorrupt when refcounts contradict the metadata.
  Task<Result<ClusterRun>> allocate(uint64_t want);
  /// Exactly `count` clusters next to each other, for tables.
  Task<Result<uint64_t>> allocate_exactly(uint64_t count);
  /// The free cluster `cluster` itself, if it is free: to go on right behind another one.
  Task<Result<bool>> allocate_at(uint64_t cluster);
  /// One more or one fewer user of each cluster. Errors: kTooLarge when it does not fit the width
  /// (reason "qcow2-refcount-overflow"), kCorrupt below zero.
  Task<Result<void>> increase(ClusterRun run);
  Task<Result<void>> decrease(ClusterRun run);
  uint64_t max() const { return max_refcount_; }

  // --- Writing back; see flush.cc for the order.

  struct DirtyPart {
    uint64_t key;
    uint64_t host_offset;
    std::vector<std::byte> bytes;
  };
  struct DirtyTableEntry {
    uint64_t index;
    uint64_t host_offset;
  };
  /// Parts that are kept in memory at most, unless more are dirty.
  size_t max_parts() const { return std::max<uint64_t>(setup_.max_bytes / part_bytes_, 4); }
  /// May be asked from anywhere.
  size_t dirty_parts() const { return dirty_count_.load(std::memory_order_relaxed); }
  std::vector<DirtyPart> take_dirty_parts();
  std::vector<DirtyTableEntry> take_dirty_table();
  /// After a round: what was taken is on disk, or is dirty again.
  void written(const std::vector<DirtyPart>& parts, const std::vector<DirtyTableEntry>& entries,
               const Result<void>& result);
  uint64_t table_offset() const { return setup_.header.refcount_table_offset; }
  /// One past the last cluster with a refcount, by reading blocks from the end.
  Task<Result<uint64_t>> end_of_used();
  /// Counts used clusters up to `limit` of them.
  Task<Result<uint64_t>> count_used(uint64_t limit);

 private:
  /// A part of a refcount block.
  struct Part {
    std::vector<std::byte> bytes;
    uint64_t host_offset = 0;
    bool dirty = false;
    unsigned writing = 0;  // copies of it on their way to disk
  };

  uint64_t entries_per_part() const { return part_bytes_ * 8 >> setup_.header.refcount_order; }
  uint64_t parts_per_block() const { return setup_.header.cluster_size() / part_bytes_; }
  uint64_t table_index(uint64_t cluster) const {
    return cluster / setup_.header.refcounts_per_block();
  }
  /// The part that holds `cluster`; null when there is no block for it.
  Task<Result<Part*>> part_of(uint64_t cluster);
  Task<Result<Part*>> part_for_change(uint64_t cluster);
  Task<Result<void>> add_block(uint64_t table_index);
  Task<Result<void>> grow_table(uint64_t table_index);
  Task<Result<void>> write_grown_table(uint64_t first_cluster, uint64_t blocks, uint64_t entries);
  Task<Result<void>> write_dirty_parts();
  Task<Result<void>> change(ClusterRun run, int64_t by);
  Result<void> take(Part& part, uint64_t cluster);
  void mark_dirty(Part& part);
  void forget_some();

  Setup setup_;
  uint64_t part_bytes_ = 0;
  uint64_t max_refcount_ = 0;
  uint64_t cursor_ = 0;  // no cluster below it is known to be free
  std::vector<uint64_t> table_;
  std::unordered_map<uint64_t, Part> parts_;  // by cluster / entries_per_part()
  std::vector<uint64_t> dirty_table_;
  std::atomic<size_t> dirty_count_{0};
};

}  // namespace ashlar::qcow2
