// Goes through everything an image refers to, counts the references and looks at every entry.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "formats/qcow2/check_log.h"
#include "formats/qcow2/fixed_metadata.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/l2_entry.h"
#include "formats/qcow2/metadata_reader.h"
#include "formats/qcow2/reference_counts.h"
#include "formats/qcow2/snapshot_table.h"
#include "formats/qcow2/stored_refcounts.h"

namespace ashlar::qcow2 {

/// Counts all references of a quiet image, in the order in which the peer reports what it finds.
class ReferenceWalk {
 public:
  /// Everything must outlive the walk.
  struct Parts {
    Child& file;
    const Header& header;
    const SnapshotTable& snapshots;
    const StoredRefcounts& stored;
    const FixedMetadata& fixed;
    ReferenceCounts& counts;
    CheckLog& log;
    Repair repair = Repair::kNothing;
  };
  explicit ReferenceWalk(const Parts& parts);

  /// Errors: what the file gives; kTooLarge and kNoMemory when the image asks for too much work or
  /// memory (reasons "qcow2-check-work", "qcow2-check-memory").
  Task<Result<void>> run();

  /// The refcount structure itself is wrong: changing single refcounts cannot repair the image.
  bool needs_rebuild() const { return needs_rebuild_; }
  /// The refcount table has entries that nothing which knows the format has written.
  bool table_is_foreign() const { return table_is_foreign_; }
  /// What the image refers to past the end of the file: as the file grows, that is used.
  /// Empty when there is more than can be remembered.
  const std::optional<std::vector<ByteRange>>& dangling() const { return dangling_; }
  /// L2 tables were changed.
  bool changed_tables() const { return changed_tables_; }

 private:
  enum class Table : uint8_t { kActive, kOfSnapshot };
  struct L2Place {
    uint64_t offset;
    Table kind;
  };

  Task<Result<void>> walk_l1(uint64_t offset, uint64_t entries, Table kind);
  Task<Result<void>> visit_l2(L2Place place);
  Task<Result<void>> walk_l2(L2Place place);
  void remember(uint64_t offset, const CheckReport& before);
  Task<Result<void>> count_shared();
  Task<Result<void>> walk_snapshots();
  Task<Result<void>> walk_bitmaps();
  Task<Result<void>> walk_bitmap_table(uint64_t offset, uint64_t entries);
  void walk_refcount_structure();
  void visit_refcount_block(uint64_t index);

  void visit_entries(L2Place place);
  void visit_entry(size_t index, L2Place place);
  void visit_compressed(size_t index, L2Entry entry, uint64_t bitmap, Table kind);
  void visit_standard(size_t index, L2Entry entry, uint64_t bitmap, L2Place place);
  bool repair_room(size_t index, L2Place place);
  void check_bitmap(ClusterKind cluster, L2Entry entry, uint64_t bitmap);
  void note_position(uint64_t offset, Table kind);

  /// Counts every cluster that `offset` and the `length` bytes from it touch.
  void count(uint64_t offset, uint64_t length);
  void count_cluster(uint64_t cluster);
  void note_dangling(uint64_t offset, uint64_t length);
  Result<void> state() const;

  EntryRules rules() const { return {header_.has_extended_l2(), header_.has_data_file(), false}; }

  Child& file_;
  const Header& header_;
  const SnapshotTable& snapshots_;
  const StoredRefcounts& stored_;
  const FixedMetadata& fixed_;
  ReferenceCounts& counts_;
  CheckLog& log_;
  const Repair repair_;
  const uint64_t file_size_;
  const CompressedLayout layout_;
  MetadataReader l1_reader_;

  std::vector<std::byte> table_;  // the L2 table that is looked at
  bool table_changed_ = false;
  uint64_t next_offset_ = 0;  // where the next cluster would not count as a fragment; 0: anywhere
  uint64_t findings_ = 0;     // in the current table

  /// An L2 table without findings, by its offset.
  struct CleanTable {
    uint64_t met_again = 0;  ///< references are added in the end
    uint32_t allocated = 0;  ///< statistics are added at once
    uint32_t fragmented = 0;
    uint32_t compressed = 0;
  };
  std::unordered_map<uint64_t, CleanTable> clean_;
  uint64_t times_ = 1;  // that each reference counts
  uint64_t l1_entries_ = 0;
  uint64_t damaged_tables_ = 0;
  std::optional<std::vector<ByteRange>> dangling_{std::in_place};
  bool out_of_memory_ = false;
  bool needs_rebuild_ = false;
  bool table_is_foreign_ = false;
  bool changed_tables_ = false;
};

}  // namespace ashlar::qcow2
