// The audit of qcow2 images. Specification: docs/interop/qcow2.rst.
#include "testing/qcow2_audit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/zero_scan.h"

namespace ashlar {

namespace {

constexpr uint64_t kCopied = uint64_t{1} << 63;
constexpr uint64_t kCompressed = uint64_t{1} << 62;
constexpr uint64_t kOffset = 0x00ff'ffff'ffff'fe00;
constexpr size_t kMostMessages = 6;
// No test's image has as many.
constexpr uint64_t kMostClusters = uint64_t{1} << 24;

}  // namespace

Qcow2Audit::Qcow2Audit(SparseBytes file) : file_(std::move(file)) {
  if (!read_header()) return;
  use(0, cluster_size(), "header");
  count_refcount_structure();
  count_l1(active_, Activity::kActive);
  count_snapshots();
  compare_counts();
}

std::string Qcow2Audit::describe() const {
  return fmt::format("{} leaks; {}", leaks_, fmt::join(corruptions_, "; "));
}

uint64_t Qcow2Audit::be(uint64_t offset, unsigned bytes) const {
  std::array<std::byte, 8> raw;
  file_.read(offset, std::span(raw).first(bytes));
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; ++i) value = value << 8 | std::to_integer<uint64_t>(raw[i]);
  return value;
}

void Qcow2Audit::corrupt(std::string what) {
  if (corruptions_.size() < kMostMessages) corruptions_.push_back(std::move(what));
}

bool Qcow2Audit::read_header() {
  version_ = static_cast<uint32_t>(be(4, 4));
  cluster_bits_ = static_cast<uint32_t>(be(20, 4));
  if (be(0, 4) != 0x514649fb || version_ < 2 || version_ > 3 || cluster_bits_ < 9 ||
      cluster_bits_ > 21) {
    cluster_bits_ = 9;
    corrupt("no header");
    return false;
  }
  size_ = be(24, 8);
  active_ = {be(40, 8), be(36, 4)};
  snapshot_count_ = static_cast<uint32_t>(be(60, 4));
  snapshots_offset_ = be(64, 8);
  if (version_ >= 3) {
    const uint64_t incompatible = be(72, 8);
    if ((incompatible & ~uint64_t{4 | 16}) != 0) {
      corrupt(fmt::format("incompatible features {:#x}", incompatible));
    }
    external_ = (incompatible & 4) != 0;
    extended_ = (incompatible & 16) != 0;
    refcount_order_ = static_cast<uint32_t>(be(96, 4));
  }
  if (refcount_order_ > 6 || active_.entries > kMostClusters) {
    corrupt("impossible header");
    return false;
  }
  const uint64_t covered = active_.entries * l2_entries() * cluster_size();
  if (covered < size_) corrupt(fmt::format("the L1 table covers {} of {} bytes", covered, size_));
  return true;
}

void Qcow2Audit::use(uint64_t offset, uint64_t length, const char* what) {
  if ((offset + length) >> cluster_bits_ > kMostClusters) {
    corrupt(fmt::format("{} at {:#x} is too far out", what, offset));
    return;
  }
  const uint64_t last = (offset + length - 1) >> cluster_bits_;
  for (uint64_t cluster = offset >> cluster_bits_; cluster <= last; ++cluster) {
    Users& users = users_[cluster];
    ++users.count;
    users.what = what;
  }
}

void Qcow2Audit::count_refcount_structure() {
  const uint64_t offset = be(48, 8);
  const uint64_t clusters = be(56, 4);
  if (clusters > kMostClusters >> 8) return corrupt("refcount table too large");
  if (offset % cluster_size() != 0) corrupt(fmt::format("refcount table at {:#x}", offset));
  use(offset, clusters * cluster_size(), "refcount table");
  refcount_blocks_.resize(clusters * cluster_size() / 8);
  for (size_t i = 0; i < refcount_blocks_.size(); ++i) {
    const uint64_t block = be(offset + i * 8, 8);
    if (block == 0) continue;
    if (block % cluster_size() != 0 || block >> cluster_bits_ > kMostClusters) {
      corrupt(fmt::format("refcount block {} at {:#x}", i, block));
      continue;
    }
    refcount_blocks_[i].resize(cluster_size());
    file_.read(block, refcount_blocks_[i]);
    use(block, cluster_size(), "refcount block");
  }
}

void Qcow2Audit::count_snapshots() {
  if (snapshot_count_ == 0) return;
  uint64_t at = snapshots_offset_;
  for (uint32_t i = 0; i < snapshot_count_; ++i) {
    const L1 table{be(at, 8), be(at + 8, 4)};
    if (table.entries > kMostClusters) return corrupt("snapshot with a huge L1 table");
    if (i == 0) snapshot_ = table;
    count_l1(table, Activity::kSnapshot);
    at += 40 + be(at + 36, 4) + be(at + 12, 2) + be(at + 14, 2);
    at = (at + 7) / 8 * 8;
  }
  use(snapshots_offset_, at - snapshots_offset_, "snapshot table");
}

/// In the active state the copied flag says exactly whether there is one user.
void Qcow2Audit::check_copied(uint64_t word, const char* what) {
  const uint64_t count = stored_count((word & kOffset) >> cluster_bits_);
  const bool copied = (word & kCopied) != 0;
  if (copied == (count == 1)) return;
  corrupt(
      fmt::format("{} entry {:#x}: copied flag {} with refcount {}", what, word, copied, count));
}

void Qcow2Audit::count_l1(L1 table, Activity activity) {
  if (table.entries == 0) return;
  if (table.offset % cluster_size() != 0) corrupt(fmt::format("L1 table at {:#x}", table.offset));
  use(table.offset, table.entries * 8, "L1 table");
  for (uint64_t i = 0; i < table.entries; ++i) {
    const uint64_t word = be(table.offset + i * 8, 8);
    if (word == 0) continue;
    const uint64_t offset = word & kOffset;
    if ((word & ~(kOffset | kCopied)) != 0 || offset % cluster_size() != 0 || offset == 0) {
      corrupt(fmt::format("L1 entry {} is {:#x}", i, word));
      continue;
    }
    use(offset, cluster_size(), "L2 table");
    ++tables_seen_[offset >> cluster_bits_];
    if (activity == Activity::kActive) check_copied(word, "L1");
    count_l2(offset, activity);
  }
}

void Qcow2Audit::count_l2(uint64_t table, Activity activity) {
  std::vector<std::byte> bytes(cluster_size());
  file_.read(table, bytes);
  const auto word = [&bytes](uint64_t at) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; ++i) value = value << 8 | std::to_integer<uint64_t>(bytes[at + i]);
    return value;
  };
  for (uint64_t at = 0; at < bytes.size(); at += entry_bytes()) {
    const Entry entry{word(at), extended_ ? word(at + 8) : 0};
    if (entry.descriptor != 0 || entry.bitmap != 0) count_entry(entry, activity);
  }
}

void Qcow2Audit::count_entry(const Entry& entry, Activity activity) {
  const uint64_t word = entry.descriptor;
  if (word & kCompressed) return count_compressed(word);
  const uint64_t offset = word & kOffset;
  const uint64_t zero_flag = extended_ || version_ < 3 ? 0 : 1;
  if ((word & ~(kOffset | kCopied | zero_flag)) != 0 || offset % cluster_size() != 0) {
    return corrupt(fmt::format("L2 entry {:#x}", word));
  }
  if (extended_) check_bitmap(entry);
  if (external_) return;  // not counted
  if (offset == 0) {
    if (word & kCopied) corrupt(fmt::format("L2 entry {:#x}: copied, but nowhere", word));
    return;
  }
  use(offset, cluster_size(), "data");
  if (activity == Activity::kActive) check_copied(word, "L2");
}

void Qcow2Audit::check_bitmap(const Entry& entry) {
  const uint64_t allocated = entry.bitmap & 0xffff'ffff;
  const uint64_t zero = entry.bitmap >> 32;
  const bool room =
      (entry.descriptor & kOffset) != 0 || (external_ && (entry.descriptor & kCopied));
  if ((allocated & zero) != 0 || (allocated != 0 && !room)) {
    corrupt(fmt::format("L2 entry {:#x} with bitmap {:#x}", entry.descriptor, entry.bitmap));
  }
}

void Qcow2Audit::count_compressed(uint64_t descriptor) {
  if ((descriptor & kCopied) || external_) {
    return corrupt(fmt::format("compressed L2 entry {:#x}", descriptor));
  }
  const unsigned shift = 62 - (cluster_bits_ - 8);
  const uint64_t offset = descriptor & ((uint64_t{1} << shift) - 1);
  const uint64_t sectors = ((descriptor & ~kCompressed) >> shift) + 1;
  use(offset, sectors * 512 - offset % 512, "compressed data");
}

uint64_t Qcow2Audit::stored_count(uint64_t cluster) const {
  const uint64_t per_block = cluster_size() * 8 >> refcount_order_;
  const uint64_t index = cluster / per_block;
  if (index >= refcount_blocks_.size() || refcount_blocks_[index].empty()) return 0;
  const uint64_t bit = cluster % per_block << refcount_order_;
  const std::byte* at = refcount_blocks_[index].data() + bit / 8;
  if (refcount_order_ < 3) {
    return std::to_integer<uint64_t>(*at) >> bit % 8 & ((1u << (1u << refcount_order_)) - 1);
  }
  uint64_t value = 0;
  for (unsigned i = 0; i < 1u << (refcount_order_ - 3); ++i) {
    value = value << 8 | std::to_integer<uint64_t>(at[i]);
  }
  return value;
}

void Qcow2Audit::compare_counts() {
  for (const auto& [cluster, users] : users_) {
    const uint64_t count = stored_count(cluster);
    if (count < users.count) {
      corrupt(fmt::format("cluster {:#x} ({}) has {} users and refcount {}",
                          cluster << cluster_bits_, users.what, users.count, count));
    } else if (count > users.count) {
      ++leaks_;
    }
    const bool is_table = tables_seen_.contains(cluster);
    if (is_table && tables_seen_.at(cluster) != users.count) {
      corrupt(
          fmt::format("cluster {:#x} is an L2 table and something else", cluster << cluster_bits_));
    }
    const bool may_be_shared = std::strcmp(users.what, "data") == 0 || is_table ||
                               std::strcmp(users.what, "compressed data") == 0;
    if (!may_be_shared && users.count != 1) {
      corrupt(fmt::format("cluster {:#x} ({}) has {} users", cluster << cluster_bits_, users.what,
                          users.count));
    }
  }
  constexpr uint64_t kPiece = 64;  // bytes; most of a block is zeroes
  const uint64_t per_block = cluster_size() * 8 >> refcount_order_;
  const uint64_t per_piece = kPiece * 8 >> refcount_order_;
  for (size_t i = 0; i < refcount_blocks_.size(); ++i) {
    const std::span<const std::byte> block(refcount_blocks_[i]);
    for (uint64_t piece = 0; piece * kPiece < block.size(); ++piece) {
      if (is_zero(block.subspan(piece * kPiece, kPiece))) continue;
      const uint64_t first = i * per_block + piece * per_piece;
      for (uint64_t cluster = first; cluster < first + per_piece; ++cluster) {
        if (stored_count(cluster) != 0 && !users_.contains(cluster)) ++leaks_;
      }
    }
  }
}

Qcow2Audit::Entry Qcow2Audit::entry_of(L1 table, uint64_t guest) const {
  const uint64_t index = guest / l2_entries();
  if (index >= table.entries) return {};
  const uint64_t l2 = be(table.offset + index * 8, 8) & kOffset;
  if (l2 == 0) return {};
  const uint64_t at = l2 + guest % l2_entries() * entry_bytes();
  return {be(at, 8), extended_ ? be(at + 8, 8) : 0};
}

void Qcow2Audit::inflate(uint64_t descriptor, std::span<std::byte> cluster) const {
  const unsigned shift = 62 - (cluster_bits_ - 8);
  const uint64_t offset = descriptor & ((uint64_t{1} << shift) - 1);
  const uint64_t sectors = ((descriptor & ~kCompressed) >> shift) + 1;
  std::vector<std::byte> bytes(sectors * 512 - offset % 512);
  file_.read(offset, bytes);
  z_stream stream = {};
  [[maybe_unused]] int status = inflateInit2(&stream, -15);
  assert(status == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(cluster.data());
  stream.avail_out = static_cast<uInt>(cluster.size());
  ::inflate(&stream, Z_FINISH);
  // What does not decode shows as bytes that no test has written.
  if (stream.avail_out != 0) std::ranges::fill(cluster, std::byte{0xdb});
  inflateEnd(&stream);
}

/// A part of one cluster, or of one subcluster where those differ.
void Qcow2Audit::read_part(const Entry& entry, uint64_t offset, std::span<std::byte> into,
                           const Beside& beside) const {
  const uint64_t in_cluster = offset % cluster_size();
  const uint64_t word = entry.descriptor;
  if (word & kCompressed) {
    std::vector<std::byte> cluster(cluster_size());
    inflate(word, cluster);
    std::memcpy(into.data(), cluster.data() + in_cluster, into.size());
    return;
  }
  const bool room = (word & kOffset) != 0 || (external_ && (word & kCopied));
  const uint64_t bit = in_cluster / (cluster_size() / 32);
  const bool zero = extended_ ? (entry.bitmap >> (32 + bit) & 1) != 0 : (word & 1) != 0;
  const bool data = extended_ ? (entry.bitmap >> bit & 1) != 0 : room && !zero;
  std::memset(into.data(), 0, into.size());
  if (data) {
    const SparseBytes& from = external_ ? *beside.data_file : file_;
    from.read((word & kOffset) + in_cluster, into);
  } else if (!zero && beside.backing != nullptr) {
    beside.backing->read(offset, into);
  }
}

void Qcow2Audit::read_from(L1 table, uint64_t offset, std::span<std::byte> into,
                           const Beside& beside) const {
  while (!into.empty()) {
    const Entry entry = entry_of(table, offset / cluster_size());
    const bool in_parts = extended_ && !(entry.descriptor & kCompressed);
    const uint64_t unit = in_parts ? cluster_size() / 32 : cluster_size();
    const uint64_t length = std::min<uint64_t>(into.size(), unit - offset % unit);
    read_part(entry, offset, into.first(length), beside);
    into = into.subspan(length);
    offset += length;
  }
}

void Qcow2Audit::read(uint64_t offset, std::span<std::byte> into, const Beside& beside) const {
  read_from(active_, offset, into, beside);
}

void Qcow2Audit::read_snapshot(uint64_t offset, std::span<std::byte> into,
                               const Beside& beside) const {
  read_from(snapshot_, offset, into, beside);
}

}  // namespace ashlar
