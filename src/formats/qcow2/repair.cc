// Repairs of qcow2 images that write new structures.
#include "formats/qcow2/repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ashlar/driver.h"
#include "base/checked.h"
#include "base/endian.h"
#include "formats/qcow2/refcount_bits.h"

namespace ashlar::qcow2 {
namespace {

Task<Result<void>> write_at(Child& file, uint64_t offset, std::span<const std::byte> bytes) {
  const ByteRange where(offset, bytes.size());
  const ConstBuffers from(bytes.data(), bytes.size());
  co_return co_await file.write(where, from);
}

/// A new refcount structure. Only clusters behind everything that exists are used: while tables
/// are damaged, nobody knows what the clusters in front of them were.
class Rebuild {
 public:
  Rebuild(Child& file, Header& header, ReferenceCounts& counts, std::span<const ByteRange> dangling)
      : file_(file), header_(header), counts_(counts), dangling_(dangling) {}

  Task<Result<void>> run();

 private:
  Result<void> plan();
  Result<void> check_dangling() const;
  Result<uint64_t> append(uint64_t clusters);
  Result<void> need_block(uint64_t index);
  void fill_block(uint64_t index);
  Task<Result<void>> write_blocks();
  Task<Result<void>> write_table();

  Child& file_;
  Header& header_;
  ReferenceCounts& counts_;
  std::span<const ByteRange> dangling_;
  std::map<uint64_t, uint64_t> blocks_;  // cluster of each block, by index
  uint64_t table_ = 0;
  uint64_t table_clusters_ = 0;
  std::vector<std::byte> buffer_;
};

/// Takes clusters behind the last one that is counted, and counts them.
Result<uint64_t> Rebuild::append(uint64_t clusters) {
  const uint64_t in_file = divide_up(file_.size(), header_.cluster_size());
  const uint64_t first = std::max(counts_.clusters(), in_file);
  for (uint64_t i = 0; i < clusters; ++i) {
    if (counts_.add(first + i) == ReferenceCounts::Added::kNoMemory) {
      return fail(Error(ErrorCode::kNoMemory, "no memory for more references")
                      .because("qcow2-check-memory"));
    }
  }
  return first;
}

Result<void> Rebuild::need_block(uint64_t index) {
  // A new block may lie where no block counts yet.
  while (!blocks_.contains(index)) {
    const auto place = append(1);
    if (!place) return fail(place.error());
    blocks_[index] = *place;
    index = *place / header_.refcounts_per_block();
  }
  return ok();
}

Result<void> Rebuild::plan() {
  const uint64_t per_block = header_.refcounts_per_block();
  const uint64_t clusters = counts_.clusters();
  for (uint64_t cluster = 0; cluster < clusters;) {
    if (counts_.skip_untouched(cluster)) continue;
    const bool used = counts_.get(cluster) != 0;
    if (used) {
      if (auto good = need_block(cluster / per_block); !good) return good;
    }
    cluster = used ? (cluster / per_block + 1) * per_block : cluster + 1;
  }
  // The table counts itself, and the blocks that count it.
  const uint64_t per_cluster = header_.cluster_size() / 8;
  table_clusters_ = 1;
  for (;;) {
    const uint64_t end =
        std::max(counts_.clusters(), divide_up(file_.size(), header_.cluster_size()));
    const uint64_t blocks = (end + 2 * table_clusters_ + 2) / per_block + 2;
    const uint64_t needed = divide_up(blocks, per_cluster);
    if (needed <= table_clusters_) break;
    table_clusters_ = needed;
  }
  if (table_clusters_ * header_.cluster_size() > kMaxRefcountTableBytes) {
    return fail(
        Error(ErrorCode::kTooLarge, fmt::format("a refcount table of {} clusters exceeds {} MiB",
                                                table_clusters_, kMaxRefcountTableBytes / 1_MiB))
            .because("qcow2-check-rebuild-size"));
  }
  const auto place = append(table_clusters_);
  if (!place) return fail(place.error());
  table_ = *place;
  for (uint64_t i = 0; i < table_clusters_; ++i) {
    if (auto good = need_block((table_ + i) / per_block); !good) return good;
  }
  return check_dangling();
}

/// As the file grows, what damaged tables refer to past its end must not come true: it would read
/// as zeroes, and be shared with the new structure.
Result<void> Rebuild::check_dangling() const {
  const uint64_t end = counts_.clusters() * header_.cluster_size();
  for (const ByteRange& range : dangling_) {
    if (range.offset >= end) continue;
    return fail(Error(ErrorCode::kCorrupt,
                      fmt::format("the file is too short: 0x{:x} is referred to, where a new "
                                  "refcount structure would have to be",
                                  range.offset))
                    .because("qcow2-check-dangling"));
  }
  return ok();
}

void Rebuild::fill_block(uint64_t index) {
  const uint64_t per_block = header_.refcounts_per_block();
  std::ranges::fill(buffer_, std::byte{0});
  for (uint64_t i = 0; i < per_block; ++i) {
    const uint64_t count = counts_.get(index * per_block + i);
    if (count != 0) set_refcount(buffer_, i, header_.refcount_order, count);
  }
}

Task<Result<void>> Rebuild::write_blocks() {
  for (const auto& [index, cluster] : blocks_) {
    fill_block(index);
    auto done = co_await write_at(file_, cluster << header_.cluster_bits, buffer_);
    if (!done) co_return fail(done.error().within("write refcount block"));
  }
  co_return ok();
}

Task<Result<void>> Rebuild::write_table() {
  const uint64_t per_cluster = header_.cluster_size() / 8;
  auto block = blocks_.begin();
  for (uint64_t i = 0; i < table_clusters_; ++i) {
    std::ranges::fill(buffer_, std::byte{0});
    for (; block != blocks_.end() && block->first < (i + 1) * per_cluster; ++block) {
      store_be(buffer_.data() + block->first % per_cluster * 8,
               block->second << header_.cluster_bits);
    }
    auto done = co_await write_at(file_, (table_ + i) << header_.cluster_bits, buffer_);
    if (!done) co_return fail(done.error().within("write refcount table"));
  }
  co_return ok();
}

Task<Result<void>> Rebuild::run() {
  auto done = plan();
  if (!done) co_return done;
  buffer_.resize(header_.cluster_size());
  done = co_await write_blocks();
  if (done) done = co_await write_table();
  // The new structure must be whole before the header points to it.
  if (done) done = co_await file_.flush();
  if (!done) co_return done;
  header_.refcount_table_offset = table_ << header_.cluster_bits;
  header_.refcount_table_clusters = static_cast<uint32_t>(table_clusters_);
  co_return co_await write_header(file_, header_);
}

/// First of `wanted` clusters in a row that count 0 and whose refcounts are stored.
Task<Result<uint64_t>> find_free(StoredRefcounts& stored, const Header& header, uint64_t wanted) {
  const uint64_t per_block = header.refcounts_per_block();
  uint64_t found = 0;
  for (uint64_t index = 0; index < stored.table().size(); ++index) {
    const auto block = co_await stored.block(index);
    if (!block) co_return fail(block.error());
    if (block->state != StoredRefcounts::Block::State::kStored) {
      found = 0;
      continue;
    }
    for (uint64_t i = 0; i < per_block; ++i) {
      const bool free = get_refcount(block->bytes, i, header.refcount_order) == 0;
      found = free ? found + 1 : 0;
      if (found == wanted) co_return index* per_block + i + 1 - wanted;
    }
  }
  co_return fail(
      Error(ErrorCode::kNoSpace, fmt::format("no {} free clusters in a row have refcounts", wanted))
          .because("qcow2-check-no-room"));
}

/// Adds `change` (modulo 2^64, so that -1 works) to the refcounts of `clusters`.
Task<Result<void>> add_to_refcounts(StoredRefcounts& stored, uint64_t first, uint64_t clusters,
                                    uint64_t change) {
  for (uint64_t i = 0; i < clusters; ++i) {
    const auto count = co_await stored.get(first + i);
    if (!count) co_return fail(count.error());
    // What is not counted cannot be freed, nor is it where room was found.
    if (!*count || **count + change == ~uint64_t{0}) continue;
    auto done = co_await stored.set(first + i, **count + change);
    if (!done) co_return done;
  }
  co_return co_await stored.write_back();
}

}  // namespace

Task<Result<void>> write_header(Child& file, const Header& header) {
  const auto bytes = encode_header(header);
  if (!bytes) co_return fail(bytes.error());
  auto done = co_await write_at(file, 0, *bytes);
  if (!done) co_return fail(done.error().within("write header"));
  co_return co_await file.flush();
}

Task<Result<void>> rebuild_refcounts(Child& file, Header& header, ReferenceCounts& counts,
                                     std::span<const ByteRange> dangling) {
  Rebuild rebuild(file, header, counts, dangling);
  co_return co_await rebuild.run();
}

Task<Result<void>> rewrite_snapshot_table(Child& file, Header& header, StoredRefcounts& stored,
                                          const SnapshotTable& table, uint64_t old_bytes) {
  const uint64_t cluster_size = header.cluster_size();
  const uint64_t old_first = header.snapshots_offset / cluster_size;
  const uint64_t old_clusters = divide_up(old_bytes, cluster_size);
  const auto bytes = encode_snapshot_table(table.snapshots, header.virtual_size());
  if (!bytes) co_return fail(bytes.error());
  const uint64_t clusters = divide_up(bytes->size(), cluster_size);
  // A table that is not all in the file was not counted, so its clusters are not to be freed.
  const bool counted = header.snapshots_offset + old_bytes < file.size() + cluster_size;
  uint64_t first = 0;
  if (clusters != 0) {
    const auto found = co_await find_free(stored, header, clusters);
    if (!found) co_return fail(found.error());
    first = *found;
    if (first < old_first + old_clusters && old_first < first + clusters) {
      co_return fail(Error(ErrorCode::kIo,
                           fmt::format("the only room for a new snapshot table, at cluster {}, is "
                                       "where the old one is",
                                       first))
                         .because("qcow2-check-no-room"));
    }
    auto done = co_await add_to_refcounts(stored, first, clusters, 1);
    if (done) done = co_await write_at(file, first * cluster_size, *bytes);
    if (done) done = co_await file.flush();
    if (!done) co_return done;
  }
  header.snapshots_offset = first * cluster_size;
  header.snapshot_count = static_cast<uint32_t>(table.snapshots.size());
  auto done = co_await write_header(file, header);
  if (!done || !counted) co_return done;
  // Nothing durable refers to the old table any more.
  done = co_await add_to_refcounts(stored, old_first, old_clusters, ~uint64_t{0});
  if (done) done = co_await file.flush();
  co_return done;
}

}  // namespace ashlar::qcow2
