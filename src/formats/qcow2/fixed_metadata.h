// Where the tables are that an image has once: repair writes nothing else there.
#pragma once

#include <cstdint>
#include <vector>

#include "ashlar/bytes.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/snapshot_table.h"
#include "formats/qcow2/stored_refcounts.h"

namespace ashlar::qcow2 {

/// Places of header, L1 tables, refcount structure, snapshot table, bitmap directory and encryption
/// header, in whole clusters. In a damaged image they may overlap, and anything may point at them.
class FixedMetadata {
 public:
  FixedMetadata(const Header& header, const SnapshotTable& snapshots,
                const StoredRefcounts& stored);

  /// Whether an L2 table at `offset` is a cluster that holds nothing of this.
  bool is_free_for_l2(uint64_t offset) const;
  /// Whether the active L1 table is by itself.
  bool l1_is_alone() const { return l1_is_alone_; }
  /// Its place.
  ByteRange l1() const { return l1_; }
  /// Something else was found to refer to the active L1 table.
  void doubt_l1() { l1_is_alone_ = false; }
  /// Whether every refcount block is by itself.
  bool blocks_are_alone() const { return blocks_are_alone_; }

 private:
  ByteRange whole_clusters(uint64_t offset, uint64_t length) const;
  bool meets_tables(ByteRange range) const;
  bool meets_blocks(ByteRange range) const;

  uint64_t cluster_size_;
  std::vector<ByteRange> tables_;  // by offset; without the active L1 table
  uint64_t longest_ = 0;           // of tables_
  std::vector<uint64_t> blocks_;   // offsets of refcount blocks, in order
  ByteRange l1_;
  bool l1_is_alone_ = false;
  bool blocks_are_alone_ = false;
};

}  // namespace ashlar::qcow2
