// The refcounts that an image stores.
#include "formats/qcow2/stored_refcounts.h"

#include <algorithm>
#include <cassert>

#include "ashlar/driver.h"
#include "base/endian.h"
#include "formats/qcow2/metadata_reader.h"

namespace ashlar::qcow2 {
namespace {

constexpr uint64_t kCacheBytes = 4_MiB;

}  // namespace

StoredRefcounts::StoredRefcounts(Child& file, const Header& header)
    : file_(file),
      header_(header),
      slots_(std::clamp<uint64_t>(kCacheBytes / header.cluster_size(), 4, 1024)) {}

Task<Result<void>> StoredRefcounts::load() {
  for (Slot& slot : slots_) slot = {};
  table_.clear();
  MetadataReader reader(file_);
  const uint64_t end =
      header_.refcount_table_offset + header_.refcount_table_clusters * header_.cluster_size();
  for (uint64_t at = header_.refcount_table_offset; at < end;) {
    const ByteRange part(at, std::min<uint64_t>(end - at, MetadataReader::kWindow));
    const auto bytes = co_await reader.view(part, end);
    if (!bytes) co_return fail(bytes.error().within("read refcount table"));
    for (size_t offset = 0; offset < bytes->size(); offset += 8) {
      const RefcountTableEntry entry{load_be<uint64_t>(bytes->data() + offset)};
      const uint64_t index = (at + offset - header_.refcount_table_offset) / 8;
      if (entry.raw == 0) continue;
      table_.resize(index + 1);
      table_[index] = entry;
    }
    at += part.length;
  }
  co_return ok();
}

/// What the table alone says.
std::optional<StoredRefcounts::Block> StoredRefcounts::without_slot(uint64_t index) const {
  if (index >= table_.size() || table_[index].offset() == 0) return Block{};
  const uint64_t offset = table_[index].offset();
  if (!is_aligned(offset, header_.cluster_size()) ||
      offset > kMaxDeviceSize - header_.cluster_size()) {
    return Block{Block::State::kUnusable, {}};
  }
  return std::nullopt;
}

std::optional<StoredRefcounts::Block> StoredRefcounts::resident_block(uint64_t index) const {
  if (auto known = without_slot(index)) return known;
  const Slot& slot = slots_[index % slots_.size()];
  if (slot.index != index) return std::nullopt;
  return Block{Block::State::kStored, slot.bytes};
}

Task<Result<void>> StoredRefcounts::write_slot(Slot& slot) {
  if (!slot.dirty) co_return ok();
  const ByteRange where(table_[*slot.index].offset(), slot.bytes.size());
  const ConstBuffers from(slot.bytes.data(), slot.bytes.size());
  auto written = co_await file_.write(where, from);
  if (!written) co_return fail(written.error().within("write refcount block"));
  slot.dirty = false;
  co_return ok();
}

Task<Result<StoredRefcounts::Block>> StoredRefcounts::block(uint64_t index) {
  if (auto known = resident_block(index)) co_return *known;
  Slot& slot = slot_of(index);
  auto written = co_await write_slot(slot);
  if (!written) co_return fail(written.error());
  slot.index.reset();
  slot.bytes.resize(header_.cluster_size());
  const ByteRange where(table_[index].offset(), slot.bytes.size());
  const MutableBuffers into(slot.bytes.data(), slot.bytes.size());
  auto done = co_await file_.read(where, into);
  if (!done) co_return fail(done.error().within("read refcount block"));
  slot.index = index;
  co_return Block{Block::State::kStored, slot.bytes};
}

Task<Result<std::optional<uint64_t>>> StoredRefcounts::get(uint64_t cluster) {
  const uint64_t per_block = header_.refcounts_per_block();
  const auto found = co_await block(cluster / per_block);
  if (!found) co_return fail(found.error());
  std::optional<uint64_t> value;
  if (found->state == Block::State::kAbsent) value = 0;
  if (found->state == Block::State::kStored) {
    value = get_refcount(found->bytes, cluster % per_block, header_.refcount_order);
  }
  co_return value;
}

Task<Result<void>> StoredRefcounts::set(uint64_t cluster, uint64_t value) {
  const uint64_t per_block = header_.refcounts_per_block();
  const auto found = co_await block(cluster / per_block);
  if (!found) co_return fail(found.error());
  assert(found->state == Block::State::kStored);
  Slot& slot = slot_of(cluster / per_block);
  set_refcount(slot.bytes, cluster % per_block, header_.refcount_order, value);
  slot.dirty = true;
  co_return ok();
}

Task<Result<void>> StoredRefcounts::write_back() {
  for (Slot& slot : slots_) {
    auto written = co_await write_slot(slot);
    if (!written) co_return written;
  }
  co_return ok();
}

}  // namespace ashlar::qcow2
