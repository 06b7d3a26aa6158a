// Lays out qcow2 images by hand, with clusters of every kind in chosen places. Shares no code with
// the driver: the two check each other.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "testing/qcow2_shape.h"
#include "testing/sparse_bytes.h"

namespace ashlar {

/// Makes one image. Guest clusters are given by number; what is not mentioned is unallocated.
class Qcow2Builder {
 public:
  explicit Qcow2Builder(const Qcow2Shape& shape);

  /// A cluster with `content`, as long as a cluster.
  void add_normal(uint64_t guest, std::span<const std::byte> content);
  void add_zero(uint64_t guest);
  /// Zero, with room reserved that holds `stale`.
  void add_zero_with_room(uint64_t guest, std::span<const std::byte> stale);
  /// Deflated, behind the compressed one before if that leaves room.
  void add_compressed(uint64_t guest, std::span<const std::byte> content);
  /// `count` clusters that are counted and used by nothing: leaks that fill the refcount table.
  void add_leaks(uint64_t count) { take_clusters(count); }
  /// An internal snapshot: from here on all clusters so far are shared. Once at most.
  void take_snapshot();
  /// The file. Whatever `add_...` said is in it.
  SparseBytes finish();
  /// The external data file, if the shape has one.
  const SparseBytes& data_file() const { return data_file_; }

 private:
  uint64_t take_clusters(uint64_t count);
  uint64_t entry_offset(uint64_t guest);
  void put_entry(uint64_t guest, uint64_t descriptor, uint64_t bitmap);
  uint64_t data_offset(uint64_t guest);
  void write_be(uint64_t offset, uint64_t value, unsigned bytes);
  uint64_t read_be64(uint64_t offset) const;
  void share_tables();
  void write_snapshot_table();
  void write_refcounts();
  void write_header();
  void write_extensions();

  Qcow2Shape shape_;
  SparseBytes file_;
  SparseBytes data_file_;
  uint64_t next_ = 0;  // free cluster
  std::map<uint64_t, uint64_t> counts_;
  std::vector<uint64_t> l1_;
  uint64_t l1_offset_ = 0;
  uint64_t refcount_table_ = 0;
  uint64_t snapshot_l1_ = 0;
  uint64_t snapshot_table_ = 0;
  uint64_t compressed_end_ = 0;
};

}  // namespace ashlar
