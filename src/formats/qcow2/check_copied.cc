// Holds the copied flags of the active tables against the refcounts.
#include <algorithm>

#include "ashlar/driver.h"
#include "base/endian.h"
#include "formats/qcow2/check_refcounts.h"
#include "formats/qcow2/l2_entry.h"
#include "formats/qcow2/metadata_reader.h"

namespace ashlar::qcow2 {
namespace {

using Block = StoredRefcounts::Block;

}  // namespace

CopiedFlags::CopiedFlags(const Parts& parts)
    : file_(parts.file),
      header_(parts.header),
      stored_(parts.stored),
      fixed_(parts.fixed),
      log_(parts.log),
      repair_(parts.repair),
      rules_{header_.has_extended_l2(), header_.has_data_file()},
      table_(header_.cluster_size()) {}

Task<Result<void>> CopiedFlags::run() {
  MetadataReader reader(file_);
  const uint64_t end = header_.l1_table_offset + header_.l1_bytes();
  for (uint64_t at = header_.l1_table_offset; at < end;) {
    const ByteRange part(at, std::min<uint64_t>(end - at, MetadataReader::kWindow));
    const auto bytes = co_await reader.view(part, end);
    if (!bytes) co_return fail(bytes.error().within("read L1 table"));
    for (size_t i = 0; i < bytes->size(); i += 8) {
      const L1Entry entry{load_be<uint64_t>(bytes->data() + i)};
      if (entry.offset() == 0) continue;
      const uint64_t index = (at + i - header_.l1_table_offset) / 8;
      auto done = co_await check_l1_entry(index, entry);
      if (!done) co_return done;
    }
    at += part.length;
  }
  co_return ok();
}

/// From the block that was used last, or another one in memory.
std::optional<uint64_t> CopiedFlags::known_refcount(uint64_t offset) {
  const uint64_t cluster = offset >> header_.cluster_bits;
  const uint64_t index = cluster >> header_.refcount_block_bits();
  if (index != last_index_) {
    const auto block = stored_.resident_block(index);
    if (!block || block->state == Block::State::kUnusable) return std::nullopt;
    if (block->state == Block::State::kAbsent) return 0;
    last_index_ = index;
    last_block_ = block->bytes;
  }
  const uint64_t in_block = cluster - (index << header_.refcount_block_bits());
  return get_refcount(last_block_, in_block, header_.refcount_order);
}

Task<Result<std::optional<uint64_t>>> CopiedFlags::refcount(uint64_t offset) {
  last_index_.reset();  // the block may have to make room
  co_return co_await stored_.get(offset >> header_.cluster_bits);
}

/// Reports a wrong flag; true: it is to be set right.
bool CopiedFlags::settle(std::string_view place, CheckLog::Values values, uint64_t refcount) {
  values.push_back(std::to_string(refcount));
  std::string message = fmt::format("copied flag of {} contradicts refcount {}", place, refcount);
  const bool of_table = values.size() == 3;
  if (repair_ == Repair::kNothing || !may_write_) {
    log_.corruption(of_table ? "qcow2-check-copied-table" : "qcow2-check-copied-data",
                    std::move(values), std::move(message));
    return false;
  }
  log_.repaired_corruption(
      of_table ? "qcow2-check-copied-table-repair" : "qcow2-check-copied-data-repair",
      std::move(values), std::move(message));
  return true;
}

Task<Result<void>> CopiedFlags::check_l1_entry(uint64_t index, L1Entry entry) {
  const auto count = co_await refcount(entry.offset());
  if (!count) co_return fail(count.error());
  // Without a refcount there is nothing to hold the flag against, nor the table's.
  if (!*count) co_return ok();
  may_write_ = fixed_.l1_is_alone();
  if ((**count == 1) != entry.copied()) {
    const std::string place = fmt::format("L1 entry {} (0x{:x})", index, entry.raw);
    if (settle(place, {std::to_string(index), hex(entry.raw)}, **count)) {
      std::array<std::byte, 8> bytes;
      store_be(bytes.data(), entry.raw ^ kCopiedFlag);
      const ByteRange where(header_.l1_table_offset + index * 8, bytes.size());
      const ConstBuffers from(bytes.data(), bytes.size());
      auto done = co_await file_.write(where, from);
      if (!done) co_return fail(done.error().within("write L1 table"));
    }
  }
  if (entry.offset() >= file_.size()) co_return ok();
  co_return co_await check_table(entry.offset());
}

/// The first entry from `index` on that is not at once seen to be right: of ordinary clusters with
/// 16-bit refcounts in the block that was used last.
size_t CopiedFlags::skip_right(size_t index) const {
  if (header_.refcount_order != 4 || rules_.extended || rules_.has_data_file) return index;
  constexpr uint64_t kUnusual = kCompressedFlag | kZeroFlag;
  const uint64_t first = last_index_.value_or(0) << header_.refcount_block_bits();
  const uint64_t count = last_index_ ? last_block_.size() / 2 : 0;
  const size_t entries = header_.l2_entries();
  for (; index < entries; ++index) {
    const uint64_t raw = load_be<uint64_t>(table_.data() + index * 8);
    if (raw == 0) continue;
    const uint64_t in_block = ((raw & kOffsetMask) >> header_.cluster_bits) - first;
    if ((raw & kUnusual) != 0 || in_block >= count) break;
    const bool single = load_be<uint16_t>(last_block_.data() + in_block * 2) == 1;
    if (single != L2Entry{raw}.copied() && (raw & kOffsetMask) != 0) break;
  }
  return index;
}

Task<Result<void>> CopiedFlags::check_table(uint64_t offset) {
  const ByteRange where(offset, table_.size());
  const MutableBuffers into(table_.data(), table_.size());
  auto done = co_await file_.read(where, into);
  if (!done) co_return fail(done.error().within("read L2 table"));
  table_changed_ = false;
  may_write_ = fixed_.is_free_for_l2(offset);
  const size_t stride = header_.l2_entry_bytes();
  for (size_t i = skip_right(0); i < header_.l2_entries(); i = skip_right(i + 1)) {
    const L2Entry entry{load_be<uint64_t>(table_.data() + i * stride)};
    const ClusterKind kind = entry.kind(rules_);
    if (kind != ClusterKind::kNormal && kind != ClusterKind::kZeroAllocated) continue;
    // The common case needs no waiting.
    const auto known = rules_.has_data_file ? 1 : known_refcount(entry.offset());
    if (known && (*known == 1) == entry.copied()) continue;
    done = co_await check_entry(i, entry);
    if (!done) co_return done;
  }
  if (!table_changed_) co_return ok();
  const ConstBuffers from(table_.data(), table_.size());
  done = co_await file_.write(where, from);
  if (!done) co_return fail(done.error().within("write L2 table"));
  co_return ok();
}

Task<Result<void>> CopiedFlags::check_entry(size_t index, L2Entry entry) {
  std::optional<uint64_t> count = 1;  // of clusters in an external data file
  if (!rules_.has_data_file) {
    const auto read = co_await refcount(entry.offset());
    if (!read) co_return fail(read.error());
    count = *read;
  }
  if (!count || (*count == 1) == entry.copied()) co_return ok();
  const std::string place = fmt::format("L2 entry 0x{:x}", entry.raw);
  if (settle(place, {hex(entry.raw)}, *count)) {
    store_be(table_.data() + index * header_.l2_entry_bytes(), entry.raw ^ kCopiedFlag);
    table_changed_ = true;
  }
  co_return ok();
}

}  // namespace ashlar::qcow2
