// Resident L1 and L2 tables: lookups take no lock, misses of different slices run in parallel,
// memory is bounded. Specification: docs/interop/qcow2.rst, "Cluster mapping".
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "ashlar/driver.h"
#include "async/epoch.h"
#include "async/sync.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/l2_entry.h"
#include "formats/qcow2/metadata_ranges.h"

namespace ashlar::qcow2 {

/// A part of an L2 table, entries in host order. Readers need only be inside an epoch.
class L2Slice {
 public:
  L2Slice(size_t words, unsigned words_per_entry)
      : words_(new std::atomic<uint64_t>[words]()), word_count_(words), stride_(words_per_entry) {}

  size_t entries() const noexcept { return word_count_ / stride_; }
  /// Entry `index`; both words of an extended one belong together.
  ExtendedL2Entry entry(size_t index) const noexcept;
  /// How many entries from `index` on are `first`, `first + step` ...: at most `most`, and as far
  /// as the host offset in them does not overflow. 0 for extended entries.
  size_t run_length(size_t index, uint64_t first, uint64_t step, size_t most) const noexcept;
  /// Some entry points into metadata: none of them may be written in place unchecked.
  bool suspicious() const noexcept { return suspicious_; }

 private:
  friend class L2Cache;
  void store(size_t index, ExtendedL2Entry entry) noexcept;

  std::unique_ptr<std::atomic<uint64_t>[]> words_;
  size_t word_count_;
  unsigned stride_;
  std::atomic<uint32_t> sequence_{0};  // odd while an extended entry is being changed
  std::atomic<bool> used_{true};       // since the eviction hand last passed
  bool suspicious_ = false;
  // Under L2Cache::lock_.
  uint64_t l1_index_ = 0;
  uint32_t slice_index_ = 0;
  uint64_t host_offset_ = 0;
  bool linked_ = false;
  bool dirty_ = false;
  unsigned writing_ = 0;
};

/// L1 and L2 of the active state of one image.
class L2Cache {
 public:
  struct Setup {
    const Header& header;
    Child& file;
    EpochDomain& epochs;
    const MetadataRanges* metadata = nullptr;  ///< null: read-only, nothing to guard
    uint64_t max_bytes = 32_MiB;
  };
  explicit L2Cache(const Setup& setup);
  ~L2Cache();

  /// Reads the L1 table. Entries are checked when they are used.
  Task<Result<void>> load_l1();

  uint64_t l1_size() const noexcept { return l1_size_; }
  L1Entry l1(uint64_t index) const noexcept { return {l1_[index].load(std::memory_order_acquire)}; }
  size_t slice_entries() const noexcept { return slice_words_ / stride_; }

  /// The slice that holds the entry of guest cluster `cluster`, if it is resident. Wait-free.
  L2Slice* find(uint64_t cluster) const noexcept;
  /// Position of `cluster` in its slice.
  size_t index_in_slice(uint64_t cluster) const noexcept { return cluster % slice_entries(); }
  uint64_t l1_index(uint64_t cluster) const noexcept { return cluster >> l2_bits_; }

  /// Makes the slice resident. Its L1 entry must not be empty. The caller is inside an epoch.
  /// Errors: kCorrupt for a bad L1 entry (reason "qcow2-l2-offset"), those of reading.
  Task<Result<L2Slice*>> load(uint64_t cluster);

  // --- Changes. The caller holds the image's metadata lock.

  /// Stores entries from `cluster` on, inside one slice. False: the slice was evicted, load again.
  bool update(L2Slice& slice, uint64_t cluster, std::span<const ExtendedL2Entry> entries);
  /// A new, empty table at `host_offset` for L1 entry `index`.
  void add_table(uint64_t index, uint64_t host_offset);
  /// Moves the table of `index` to `host_offset`: all its slices become dirty there.
  Task<Result<void>> move_table(uint64_t index, uint64_t host_offset);
  /// Drops the table of `index` from the active state; the caller frees its cluster.
  void drop_table(uint64_t index);
  /// Replaces the whole L1 by a larger or smaller one. Requests are drained.
  void resize_l1(uint64_t entries);

  // --- Writing back. See flush.cc for the order.

  struct DirtySlice {
    L2Slice* slice;
    uint64_t host_offset;
    std::vector<std::byte> bytes;
  };
  struct DirtyL1 {
    uint64_t index;
    uint64_t raw;
  };
  /// Slices that are kept in memory at most, unless more are dirty.
  size_t max_slices() const noexcept { return max_slices_; }
  size_t dirty_slices() const noexcept { return dirty_count_.load(std::memory_order_relaxed); }
  std::vector<DirtySlice> take_dirty_slices();
  void written(std::span<const DirtySlice> slices, Result<void> result);
  std::vector<DirtyL1> take_dirty_l1();
  void put_back_l1(std::span<const DirtyL1> entries);

 private:
  struct Table {
    explicit Table(size_t count) : slices(new std::atomic<L2Slice*>[count]()) {}
    std::unique_ptr<std::atomic<L2Slice*>[]> slices;
  };
  struct Loading {
    WaitList waiting;
  };
  class LoadAwaiter;

  uint32_t slice_index(uint64_t cluster) const noexcept {
    return static_cast<uint32_t>((cluster & ((uint64_t{1} << l2_bits_) - 1)) / slice_entries());
  }
  size_t slice_bytes() const noexcept { return slice_words_ * 8; }
  Task<Result<std::unique_ptr<L2Slice>>> read_slice(uint64_t l1_index, uint32_t slice_index);
  void inspect(L2Slice& slice) const noexcept;
  L2Slice* link(std::unique_ptr<L2Slice> slice);  // lock_ held
  void unlink(L2Slice& slice);                    // lock_ held
  void evict();                                   // lock_ held
  void mark_dirty(L2Slice& slice);                // lock_ held
  void release_retired();                         // lock_ held

  Child& file_;
  EpochDomain& epochs_;
  const MetadataRanges* metadata_;
  unsigned cluster_bits_;
  EntryRules rules_;
  uint64_t l1_offset_;
  unsigned l2_bits_;
  unsigned stride_;
  size_t slice_words_;
  uint32_t slices_per_table_;
  size_t max_slices_;

  uint64_t l1_size_ = 0;
  std::unique_ptr<std::atomic<uint64_t>[]> l1_;
  std::unique_ptr<std::atomic<Table*>[]> tables_;

  std::mutex lock_;
  std::vector<std::unique_ptr<L2Slice>> resident_;
  size_t hand_ = 0;
  std::vector<std::unique_ptr<Table>> table_storage_;
  struct Retired {
    std::unique_ptr<L2Slice> slice;
    uint64_t phase;
  };
  std::vector<Retired> retired_;
  std::unordered_map<uint64_t, Loading*> loading_;
  std::vector<L2Slice*> dirty_;
  std::vector<uint64_t> dirty_l1_;
  std::atomic<size_t> dirty_count_{0};
};

}  // namespace ashlar::qcow2
