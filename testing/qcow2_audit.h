// An independent look at a qcow2 image: counts all references anew, and reads what guests would.
// Shares no code with the driver, and trusts nothing that the driver says about itself.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "testing/sparse_bytes.h"

namespace ashlar {

/// One image file. The bytes are copied (cheaply), so the original may change.
class Qcow2Audit {
 public:
  /// Looks at everything.
  explicit Qcow2Audit(SparseBytes file);

  /// What is wrong beyond leaks, for people. Empty: the image is good.
  const std::vector<std::string>& corruptions() const { return corruptions_; }
  std::string describe() const;
  /// Clusters counted more often than they are used.
  uint64_t leaks() const { return leaks_; }
  /// Clusters with users.
  uint64_t used_clusters() const { return users_.size(); }
  uint64_t size() const { return size_; }
  uint64_t cluster_size() const { return uint64_t{1} << cluster_bits_; }

  /// What lies beside the image file; null where it has none.
  struct Beside {
    const SparseBytes* backing = nullptr;
    const SparseBytes* data_file = nullptr;
  };
  /// Guest bytes of the active state. Only of images without corruptions.
  void read(uint64_t offset, std::span<std::byte> into, const Beside& beside) const;
  /// The same of the first snapshot's state, which `has_snapshot()`.
  void read_snapshot(uint64_t offset, std::span<std::byte> into, const Beside& beside) const;
  bool has_snapshot() const { return snapshot_count_ != 0; }

 private:
  struct Entry {
    uint64_t descriptor = 0;
    uint64_t bitmap = 0;
  };
  struct L1 {
    uint64_t offset = 0;
    uint64_t entries = 0;
  };
  enum class Activity : uint8_t { kActive, kSnapshot };

  uint64_t be(uint64_t offset, unsigned bytes) const;
  void corrupt(std::string what);
  bool read_header();
  void count_refcount_structure();
  void count_snapshots();
  void count_l1(L1 table, Activity activity);
  void count_l2(uint64_t table, Activity activity);
  void count_entry(const Entry& entry, Activity activity);
  void count_compressed(uint64_t descriptor);
  void check_bitmap(const Entry& entry);
  void use(uint64_t offset, uint64_t length, const char* what);
  uint64_t stored_count(uint64_t cluster) const;
  void compare_counts();
  void check_copied(uint64_t word, const char* what);

  uint64_t entry_bytes() const { return extended_ ? 16 : 8; }
  uint64_t l2_entries() const { return cluster_size() / entry_bytes(); }
  Entry entry_of(L1 table, uint64_t guest) const;
  void read_from(L1 table, uint64_t offset, std::span<std::byte> into, const Beside& beside) const;
  void read_part(const Entry& entry, uint64_t offset, std::span<std::byte> into,
                 const Beside& beside) const;
  void inflate(uint64_t descriptor, std::span<std::byte> cluster) const;

  SparseBytes file_;
  std::vector<std::string> corruptions_;
  uint64_t leaks_ = 0;
  uint64_t size_ = 0;
  uint32_t version_ = 0;
  uint32_t cluster_bits_ = 9;
  uint32_t refcount_order_ = 4;
  bool extended_ = false;
  bool external_ = false;
  uint32_t snapshot_count_ = 0;
  uint64_t snapshots_offset_ = 0;
  L1 active_;
  L1 snapshot_;
  std::vector<std::vector<std::byte>> refcount_blocks_;  // by table index; empty: none
  struct Users {
    uint64_t count = 0;
    const char* what = nullptr;  // the last user, for messages
  };
  std::unordered_map<uint64_t, Users> users_;
  std::unordered_map<uint64_t, uint64_t> tables_seen_;  // L2 tables and how often they are used
};

}  // namespace ashlar
