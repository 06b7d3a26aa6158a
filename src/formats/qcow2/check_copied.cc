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

/// Goes through the active tables once.
class CopiedFlags {
 public:
  CopiedFlags(Child& file, StoredRefcounts& stored, const Header& header, CheckLog& log,
              Repair repair)
      : file_(file),
        stored_(stored),
        header_(header),
        log_(log),
        repair_(repair),
        rules_{header.has_extended_l2(), header.has_data_file()},
        table_(header.cluster_size()) {}

  Task<Result<void>> run();

 private:
  Task<Result<void>> check_l1_entry(uint64_t index, L1Entry entry);
  Task<Result<void>> check_table(uint64_t offset);
  Task<Result<void>> check_entry(size_t index, L2Entry entry);
  /// The refcount, and whether there is one at all.
  Task<Result<std::optional<uint64_t>>> refcount(uint64_t offset);
  std::optional<uint64_t> resident_refcount(uint64_t offset) const;
  bool report(std::string_view place, CheckLog::Values values, uint64_t refcount);

  Child& file_;
  StoredRefcounts& stored_;
  const Header& header_;
  CheckLog& log_;
  const Repair repair_;
  const EntryRules rules_;
  std::vector<std::byte> table_;
  bool table_changed_ = false;
};

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

std::optional<uint64_t> CopiedFlags::resident_refcount(uint64_t offset) const {
  const uint64_t cluster = offset >> header_.cluster_bits;
  const uint64_t per_block = header_.refcounts_per_block();
  const auto block = stored_.resident_block(cluster / per_block);
  if (!block || block->state == Block::State::kUnusable) return std::nullopt;
  if (block->state == Block::State::kAbsent) return 0;
  return get_refcount(block->bytes, cluster % per_block, header_.refcount_order);
}

Task<Result<std::optional<uint64_t>>> CopiedFlags::refcount(uint64_t offset) {
  co_return co_await stored_.get(offset >> header_.cluster_bits);
}

/// Reports a wrong flag; true: it is to be set right.
bool CopiedFlags::report(std::string_view place, CheckLog::Values values, uint64_t refcount) {
  values.push_back(std::to_string(refcount));
  std::string message = fmt::format("copied flag of {} contradicts refcount {}", place, refcount);
  const bool of_table = values.size() == 3;
  if (repair_ == Repair::kNothing) {
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
  if ((**count == 1) != entry.copied()) {
    const std::string place = fmt::format("L1 entry {} (0x{:x})", index, entry.raw);
    if (report(place, {std::to_string(index), hex(entry.raw)}, **count)) {
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

Task<Result<void>> CopiedFlags::check_table(uint64_t offset) {
  const ByteRange where(offset, table_.size());
  const MutableBuffers into(table_.data(), table_.size());
  auto done = co_await file_.read(where, into);
  if (!done) co_return fail(done.error().within("read L2 table"));
  table_changed_ = false;
  const size_t stride = header_.l2_entry_bytes();
  for (size_t i = 0; i < header_.l2_entries(); ++i) {
    const L2Entry entry{load_be<uint64_t>(table_.data() + i * stride)};
    const ClusterKind kind = entry.kind(rules_);
    if (kind != ClusterKind::kNormal && kind != ClusterKind::kZeroAllocated) continue;
    // The common case needs no waiting.
    const auto known = rules_.has_data_file ? 1 : resident_refcount(entry.offset());
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
  if (report(place, {hex(entry.raw)}, *count)) {
    store_be(table_.data() + index * header_.l2_entry_bytes(), entry.raw ^ kCopiedFlag);
    table_changed_ = true;
  }
  co_return ok();
}

}  // namespace

Task<Result<void>> check_copied_flags(Child& file, StoredRefcounts& stored, const Header& header,
                                      CheckLog& log, Repair repair) {
  CopiedFlags flags(file, stored, header, log, repair);
  co_return co_await flags.run();
}

}  // namespace ashlar::qcow2
