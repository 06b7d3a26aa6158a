// Where the tables of a new image go: the same places as in the peer's images.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ashlar/error.h"
#include "formats/qcow2/header.h"

namespace ashlar::qcow2 {

/// What there is besides refcounts and the L1 table.
enum class LayoutShape : uint8_t {
  kBare,         ///< nothing
  kInterleaved,  ///< each L2 table in front of its data
  kBulk,         ///< all data at once, L2 tables after it
};

struct LayoutRequest {
  LayoutShape shape = LayoutShape::kBare;
  uint64_t l2_tables = 0;
  uint64_t data_clusters = 0;  ///< in this file
};

/// Hands out clusters of a new file from front to back. Refcount blocks go behind the first
/// allocation that needs them.
class ClusterDispenser {
 public:
  explicit ClusterDispenser(uint64_t refcounts_per_block) : per_block_(refcounts_per_block) {}

  /// The first of `count` clusters in a row.
  uint64_t take(uint64_t count);
  uint64_t next() const { return next_; }
  /// Cluster of every refcount block; 0: none.
  const std::vector<uint64_t>& blocks() const { return blocks_; }
  std::vector<uint64_t>& blocks() { return blocks_; }
  /// Skips to a cluster that is not before next().
  void advance(uint64_t cluster) { next_ = cluster; }

 private:
  uint64_t per_block_;
  uint64_t next_ = 0;
  std::vector<uint64_t> blocks_;
};

/// An L2 table and the clusters it maps, all in a row.
struct TablePlace {
  uint64_t table = 0;
  uint64_t data = 0;
};

/// The plan of a new image, in clusters.
class Layout {
 public:
  /// Errors: kTooLarge (reason "qcow2-create-size") when the refcount table would exceed its limit.
  static Result<Layout> plan(const Header& header, const LayoutRequest& request);

  uint64_t refcount_table() const { return refcount_table_; }
  uint64_t refcount_table_clusters() const { return refcount_table_clusters_; }
  const std::vector<uint64_t>& refcount_blocks() const { return blocks_; }
  /// 0: there is no L1 table.
  uint64_t l1_table() const { return l1_table_; }
  /// One past the last cluster that is used.
  uint64_t end() const { return end_; }
  /// Clusters that were used for a while and are free again: none, or from 1 on.
  uint64_t free_from() const { return free_from_; }
  uint64_t free_end() const { return free_end_; }
  uint64_t file_bytes(const Header& header) const;

  /// Gives the places of L2 tables in order; as many as were asked for.
  class Tables {
   public:
    TablePlace next();

   private:
    friend class Layout;
    Tables(const Layout& layout) : layout_(layout), dispenser_(layout.after_l1_) {}
    const Layout& layout_;
    ClusterDispenser dispenser_;  // interleaved: repeats what the plan did
    uint64_t index_ = 0;
  };
  Tables tables() const { return Tables(*this); }

 private:
  Layout(const Header& header, const LayoutRequest& request);
  void place_fixed(const Header& header, uint64_t table_clusters);
  void place_interleaved();
  void place_bulk(const Header& header);
  TablePlace take_table(ClusterDispenser& dispenser, uint64_t index) const;

  LayoutRequest request_;
  uint64_t l2_entries_;
  uint64_t l1_clusters_;
  ClusterDispenser after_l1_;  // as it was before the first L2 table
  uint64_t refcount_table_ = 1;
  uint64_t refcount_table_clusters_ = 1;
  std::vector<uint64_t> blocks_;
  uint64_t l1_table_ = 0;
  uint64_t bulk_data_ = 0;
  uint64_t end_ = 0;
  bool ends_with_data_ = false;
  uint64_t free_from_ = 0;
  uint64_t free_end_ = 0;
};

}  // namespace ashlar::qcow2
