// Refcounts of host clusters: reading, changing, handing out clusters.
#include "formats/qcow2/refcounts.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "base/endian.h"
#include "formats/qcow2/l2_entry.h"
#include "formats/qcow2/refcount_bits.h"

namespace ashlar::qcow2 {

namespace {

constexpr uint64_t kPartBytes = 4096;
/// L1, L2 and refcount tables can only point below this.
constexpr uint64_t kMaxHostOffset = uint64_t{1} << 56;

Error bad_block(uint64_t index, uint64_t offset, const char* what) {
  return Error(ErrorCode::kCorrupt,
               fmt::format("refcount table entry {} is {:#x}: {}", index, offset, what))
      .because("qcow2-refcount-block", {fmt::format("{:#x}", offset), fmt::format("{:#x}", index)});
}

}  // namespace

Task<Result<void>> Refcounts::load() {
  const Header& header = setup_.header;
  part_bytes_ = std::min(kPartBytes, header.cluster_size());
  max_refcount_ = max_refcount(header.refcount_order);
  table_.assign(header.refcount_table_entries(), 0);
  std::vector<std::byte> bytes(std::min<uint64_t>(table_.size() * 8, 64_KiB));
  for (uint64_t done = 0; done < table_.size() * 8; done += bytes.size()) {
    const uint64_t length = std::min<uint64_t>(bytes.size(), table_.size() * 8 - done);
    const ByteRange where{header.refcount_table_offset + done, length};
    const MutableBuffers into(bytes.data(), length);
    Result<void> read = co_await setup_.file.read(where, into);
    if (!read) co_return fail(read.error().within("read refcount table"));
    for (uint64_t i = 0; i < length / 8; ++i) {
      table_[done / 8 + i] = load_be<uint64_t>(bytes.data() + i * 8);
    }
  }
  for (uint64_t offset : table_) {
    if (offset != 0 && offset < kMaxHostOffset) {
      setup_.metadata.add({align_down(offset, header.cluster_size()), header.cluster_size()},
                          "refcount block");
    }
  }
  co_return ok();
}

Task<Result<Refcounts::Part*>> Refcounts::part_of(uint64_t cluster) {
  const uint64_t key = cluster / entries_per_part();
  auto found = parts_.find(key);
  if (found != parts_.end()) co_return &found->second;
  const uint64_t index = table_index(cluster);
  if (index >= table_.size() || table_[index] == 0) co_return nullptr;
  const uint64_t block = table_[index];
  if (!is_aligned(block, setup_.header.cluster_size())) {
    co_return fail(bad_block(index, block, "not aligned to the cluster size"));
  }
  if (block >= kMaxHostOffset) co_return fail(bad_block(index, block, "beyond 2^56"));
  forget_some();
  Part part;
  part.bytes.resize(part_bytes_);
  part.host_offset = block + key % parts_per_block() * part_bytes_;
  const ByteRange where{part.host_offset, part_bytes_};
  const MutableBuffers into(part.bytes.data(), part_bytes_);
  Result<void> read = co_await setup_.file.read(where, into);
  if (!read) co_return fail(read.error().within("read refcount block"));
  co_return &parts_.insert_or_assign(key, std::move(part)).first->second;
}

Task<Result<Refcounts::Part*>> Refcounts::part_for_change(uint64_t cluster) {
  if (cluster >= kMaxHostOffset >> setup_.header.cluster_bits) {
    co_return fail(
        Error(ErrorCode::kNoSpace, "the image file cannot become larger than 2^56 bytes"));
  }
  Result<Part*> part = co_await part_of(cluster);
  if (!part || *part != nullptr) co_return part;
  Result<void> added = co_await add_block(table_index(cluster));
  if (!added) co_return fail(added.error());
  co_return co_await part_of(cluster);
}

Task<Result<uint64_t>> Refcounts::get(uint64_t cluster) {
  Result<Part*> part = co_await part_of(cluster);
  if (!part) co_return fail(part.error());
  if (*part == nullptr) co_return uint64_t{0};
  co_return get_refcount((*part)->bytes, cluster % entries_per_part(),
                         setup_.header.refcount_order);
}

void Refcounts::mark_dirty(Part& part) {
  if (part.dirty) return;
  part.dirty = true;
  ++dirty_count_;
}

/// Keeps memory bounded: clean parts go when there are too many.
void Refcounts::forget_some() {
  const size_t limit = max_parts();
  if (parts_.size() < limit) return;
  size_t wanted = limit / 4 + 1;
  for (auto at = parts_.begin(); at != parts_.end() && wanted != 0;) {
    if (at->second.dirty || at->second.writing != 0) {
      ++at;
      continue;
    }
    at = parts_.erase(at);
    --wanted;
  }
}

/// Gives a free cluster its first user, unless it holds metadata in spite of being free.
Result<void> Refcounts::take(Part& part, uint64_t cluster) {
  const uint64_t size = setup_.header.cluster_size();
  if (const char* what = setup_.metadata.find({cluster * size, size})) {
    return fail(Error(ErrorCode::kCorrupt,
                      fmt::format("the cluster at {:#x} holds the {} but has refcount 0",
                                  cluster * size, what))
                    .because("qcow2-overlap", {what, fmt::format("{}", cluster * size)}));
  }
  set_refcount(part.bytes, cluster % entries_per_part(), setup_.header.refcount_order, 1);
  mark_dirty(part);
  return ok();
}

Task<Result<ClusterRun>> Refcounts::allocate(uint64_t want) {
  const unsigned order = setup_.header.refcount_order;
  while (true) {
    Result<Part*> part = co_await part_for_change(cursor_);
    if (!part) co_return fail(part.error());
    const uint64_t start = align_down(cursor_, entries_per_part());
    uint64_t at = cursor_ - start;
    while (at < entries_per_part() && get_refcount((*part)->bytes, at, order) != 0) ++at;
    if (at == entries_per_part()) {
      cursor_ = start + at;
      continue;
    }
    ClusterRun run{start + at, 0};
    while (run.count < want && at < entries_per_part() &&
           get_refcount((*part)->bytes, at, order) == 0) {
      Result<void> taken = take(**part, start + at);
      if (!taken && run.count == 0) co_return fail(taken.error());
      if (!taken) break;
      ++run.count;
      ++at;
    }
    cursor_ = run.first + run.count;
    co_return run;
  }
}

Task<Result<bool>> Refcounts::allocate_at(uint64_t cluster) {
  Result<Part*> part = co_await part_for_change(cluster);
  if (!part) co_return fail(part.error());
  const unsigned order = setup_.header.refcount_order;
  if (get_refcount((*part)->bytes, cluster % entries_per_part(), order) != 0) co_return false;
  Result<void> taken = take(**part, cluster);
  if (!taken) co_return fail(taken.error());
  if (cursor_ == cluster) ++cursor_;
  co_return true;
}

Task<Result<uint64_t>> Refcounts::allocate_exactly(uint64_t count) {
  uint64_t first = cursor_;
  uint64_t found = 0;
  while (found < count) {
    // Blocks that have to be added on the way occupy clusters themselves: look again afterwards.
    Result<Part*> part = co_await part_for_change(first + found);
    if (!part) co_return fail(part.error());
    Result<uint64_t> users = co_await get(first + found);
    if (!users) co_return fail(users.error());
    if (*users == 0) {
      ++found;
      continue;
    }
    first += found + 1;
    found = 0;
  }
  // A block added late may stand in what was found before it: nothing awaits from here on but
  // reads of parts, and those take no clusters.
  for (uint64_t i = 0; i < count; ++i) {
    Result<uint64_t> users = co_await get(first + i);
    if (!users) co_return fail(users.error());
    if (*users != 0) co_return co_await allocate_exactly(count);
  }
  for (uint64_t i = 0; i < count; ++i) {
    Result<Part*> part = co_await part_of(first + i);
    if (!part) co_return fail(part.error());
    Result<void> taken = take(**part, first + i);
    if (!taken) co_return fail(taken.error());
  }
  if (first == cursor_) cursor_ = first + count;
  co_return first;
}

Task<Result<void>> Refcounts::change(ClusterRun run, int64_t by) {
  const unsigned order = setup_.header.refcount_order;
  for (uint64_t cluster = run.first; cluster < run.first + run.count; ++cluster) {
    Result<Part*> part = co_await part_for_change(cluster);
    if (!part) co_return fail(part.error());
    const uint64_t index = cluster % entries_per_part();
    const uint64_t users = get_refcount((*part)->bytes, index, order);
    if (by > 0 ? users == max_refcount_ : users == 0) {
      co_return fail(Error(by > 0 ? ErrorCode::kTooLarge : ErrorCode::kCorrupt,
                           fmt::format("cluster {} has {} users and cannot have one {}", cluster,
                                       users, by > 0 ? "more" : "fewer"))
                         .because(by > 0 ? "qcow2-refcount-overflow" : "qcow2-refcount-underflow"));
    }
    set_refcount((*part)->bytes, index, order, users + static_cast<uint64_t>(by));
    mark_dirty(**part);
    if (users + static_cast<uint64_t>(by) == 0) cursor_ = std::min(cursor_, cluster);
  }
  co_return ok();
}

Task<Result<void>> Refcounts::increase(ClusterRun run) { return change(run, 1); }
Task<Result<void>> Refcounts::decrease(ClusterRun run) { return change(run, -1); }

std::vector<Refcounts::DirtyPart> Refcounts::take_dirty_parts() {
  std::vector<DirtyPart> taken;
  taken.reserve(dirty_count_);
  for (auto& [key, part] : parts_) {
    if (!part.dirty) continue;
    part.dirty = false;
    ++part.writing;
    taken.push_back({key, part.host_offset, part.bytes});
  }
  dirty_count_ = 0;
  std::ranges::sort(taken, {}, &DirtyPart::host_offset);
  return taken;
}

std::vector<Refcounts::DirtyTableEntry> Refcounts::take_dirty_table() {
  std::vector<DirtyTableEntry> taken;
  taken.reserve(dirty_table_.size());
  for (uint64_t index : dirty_table_) taken.push_back({index, table_[index]});
  dirty_table_.clear();
  return taken;
}

void Refcounts::written(const std::vector<DirtyPart>& parts,
                        const std::vector<DirtyTableEntry>& entries, const Result<void>& result) {
  for (const DirtyPart& copy : parts) {
    Part& part = parts_.at(copy.key);
    --part.writing;
    if (!result) mark_dirty(part);
  }
  if (result) return;
  for (const DirtyTableEntry& entry : entries) dirty_table_.push_back(entry.index);
}

Task<Result<uint64_t>> Refcounts::end_of_used() {
  const uint64_t per_block = setup_.header.refcounts_per_block();
  for (uint64_t index = table_.size(); index-- > 0;) {
    if (table_[index] == 0) continue;
    for (uint64_t at = per_block; at-- > 0;) {
      Result<uint64_t> users = co_await get(index * per_block + at);
      if (!users) co_return users;
      if (*users != 0) co_return index* per_block + at + 1;
    }
  }
  co_return uint64_t{0};
}

Task<Result<uint64_t>> Refcounts::count_used(uint64_t limit) {
  uint64_t used = 0;
  for (uint64_t index = 0; index < table_.size(); ++index) {
    if (table_[index] == 0) continue;
    const uint64_t first = index * setup_.header.refcounts_per_block();
    for (uint64_t at = 0; at < setup_.header.refcounts_per_block(); ++at) {
      Result<uint64_t> users = co_await get(first + at);
      if (!users) co_return users;
      if (*users != 0 && ++used >= limit) co_return used;
    }
  }
  co_return used;
}

}  // namespace ashlar::qcow2
