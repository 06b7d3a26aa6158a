// The table of internal snapshots.
#include "formats/qcow2/snapshot_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "ashlar/driver.h"
#include "base/endian.h"
#include "formats/qcow2/metadata_reader.h"

namespace ashlar::qcow2 {
namespace {

// What an icount of "none" is stored as.
constexpr uint64_t kNoInstructionCount = ~uint64_t{0};

/// Sizes of the variable parts of an entry, which follow its fixed part.
struct EntrySizes {
  uint32_t extra;
  uint16_t id;
  uint16_t name;

  uint64_t total() const { return align_up(kSnapshotEntryBytes + extra + id + name, 8); }
};

EntrySizes decode_fixed(std::span<const std::byte> bytes, Snapshot& snapshot) {
  const std::byte* const at = bytes.data();
  snapshot.l1_table_offset = load_be<uint64_t>(at);
  snapshot.l1_size = load_be<uint32_t>(at + 8);
  snapshot.date_seconds = load_be<uint32_t>(at + 16);
  snapshot.date_nanoseconds = load_be<uint32_t>(at + 20);
  snapshot.vm_clock_ns = load_be<uint64_t>(at + 24);
  snapshot.vm_state_size = load_be<uint32_t>(at + 32);
  snapshot.stored_extra_size = load_be<uint32_t>(at + 36);
  return {snapshot.stored_extra_size, load_be<uint16_t>(at + 12), load_be<uint16_t>(at + 14)};
}

/// Fields count as present when they are there whole.
void decode_extra(std::span<const std::byte> extra, Snapshot& snapshot) {
  const auto field = [extra](size_t offset) -> std::optional<uint64_t> {
    if (extra.size() < offset + 8) return std::nullopt;
    return load_be<uint64_t>(extra.data() + offset);
  };
  if (const auto size = field(0)) snapshot.vm_state_size = *size;
  snapshot.disk_size = field(8);
  snapshot.instruction_count = field(16);
  if (snapshot.instruction_count == kNoInstructionCount) snapshot.instruction_count.reset();
  if (extra.size() > kKnownSnapshotExtra) {
    const auto rest = extra.subspan(kKnownSnapshotExtra);
    snapshot.unknown_extra.assign(rest.begin(), rest.end());
  }
}

std::string text_of_all(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Error too_many(uint64_t surplus, std::string message) {
  return Error(ErrorCode::kTooLarge, std::move(message))
      .because("qcow2-snapshot-table-bytes", {std::to_string(surplus)});
}

/// Goes through a table entry by entry.
class TableReader {
 public:
  TableReader(Child& file, uint64_t start, TableDamage damage)
      : reader_(file), at_(start), start_(start), damage_(damage) {}

  /// Appends the next entry to `table`. False: the table is full, the entry was not read.
  Task<Result<bool>> next(SnapshotTable& table);

 private:
  Task<Result<std::span<const std::byte>>> view(uint64_t offset, size_t length) {
    const ByteRange range = {offset, length};
    return reader_.view(range, start_ + kMaxSnapshotTableBytes);
  }

  MetadataReader reader_;
  uint64_t at_;
  uint64_t start_;
  TableDamage damage_;
};

Task<Result<bool>> TableReader::next(SnapshotTable& table) {
  Snapshot snapshot;
  auto fixed = co_await view(at_, kSnapshotEntryBytes);
  if (!fixed) co_return fail(fixed.error());
  EntrySizes sizes = decode_fixed(*fixed, snapshot);
  if (sizes.extra > kMaxSnapshotExtra) {
    if (damage_ == TableDamage::kRefuse) {
      const size_t index = table.snapshots.size();
      co_return fail(Error(ErrorCode::kTooLarge,
                           fmt::format("snapshot table entry {} has {} bytes of extra data, at "
                                       "most {} are allowed",
                                       index, sizes.extra, kMaxSnapshotExtra))
                         .because("qcow2-snapshot-extra", {std::to_string(index)}));
    }
    ++table.cut_extra_data;
  }
  const uint64_t names_at = at_ + kSnapshotEntryBytes + sizes.extra;
  if (at_ + sizes.total() - start_ > kMaxSnapshotTableBytes) co_return false;

  const uint32_t extra_read = std::min(sizes.extra, kMaxSnapshotExtra);
  auto extra = co_await view(at_ + kSnapshotEntryBytes, extra_read);
  if (!extra) co_return fail(extra.error());
  decode_extra(*extra, snapshot);
  auto names = co_await view(names_at, size_t{sizes.id} + sizes.name);
  if (!names) co_return fail(names.error());
  snapshot.id = text_of_all(names->first(sizes.id));
  snapshot.name = text_of_all(names->subspan(sizes.id));
  table.bytes = names_at + sizes.id + sizes.name - start_;
  at_ += sizes.total();
  table.snapshots.push_back(std::move(snapshot));
  co_return true;
}

}  // namespace

SnapshotInfo Snapshot::info(uint64_t image_size) const {
  return {.id = id,
          .name = name,
          .vm_state_size = vm_state_size,
          .date_seconds = date_seconds,
          .date_nanoseconds = date_nanoseconds,
          .vm_clock_ns = vm_clock_ns,
          .instruction_count = instruction_count,
          .disk_size = disk_size.value_or(image_size)};
}

Task<Result<SnapshotTable>> read_snapshot_table(Child& file, const Header& header,
                                                TableDamage damage) {
  SnapshotTable table;
  if (header.snapshot_count == 0) co_return table;
  if (auto good = check_snapshot_fields(header); !good) {
    const bool only_too_many = good.error().reason() == "qcow2-snapshot-table-size";
    if (damage == TableDamage::kRefuse || !only_too_many) co_return fail(good.error());
  }
  const uint32_t count = std::min(header.snapshot_count, kMaxSnapshots);
  TableReader reader(file, header.snapshots_offset, damage);
  while (table.snapshots.size() < count) {
    const auto more = co_await reader.next(table);
    if (!more) co_return fail(more.error().within("read snapshot table"));
    if (*more) continue;
    const uint64_t surplus = header.snapshot_count - table.snapshots.size();
    if (damage == TableDamage::kRefuse) {
      co_return fail(too_many(surplus, fmt::format("snapshot table exceeds {} MiB after {} of {} "
                                                   "snapshots",
                                                   kMaxSnapshotTableBytes / 1_MiB,
                                                   table.snapshots.size(), header.snapshot_count)));
    }
    break;
  }
  table.cut_snapshots = header.snapshot_count - static_cast<uint32_t>(table.snapshots.size());
  co_return table;
}

Result<std::vector<std::byte>> encode_snapshot_table(std::span<const Snapshot> snapshots,
                                                     uint64_t image_size) {
  std::vector<std::byte> out;
  const auto put = [&out]<std::unsigned_integral T>(T value) {
    out.resize(out.size() + sizeof value);
    store_be(out.data() + out.size() - sizeof value, value);
  };
  const auto put_text = [&out](const std::string& text) {
    const auto bytes = std::as_bytes(std::span(text));
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  for (const Snapshot& snapshot : snapshots) {
    if (snapshot.id.size() > UINT16_MAX || snapshot.name.size() > UINT16_MAX) {
      return fail(
          Error(ErrorCode::kTooLarge,
                fmt::format("snapshot id of {} and name of {} bytes, at most {} are allowed",
                            snapshot.id.size(), snapshot.name.size(), UINT16_MAX))
              .because("qcow2-snapshot-name"));
    }
    const size_t extra_size = kKnownSnapshotExtra + snapshot.unknown_extra.size();
    const uint64_t legacy_size = snapshot.vm_state_size > UINT32_MAX ? 0 : snapshot.vm_state_size;
    put(snapshot.l1_table_offset);
    put(snapshot.l1_size);
    put(static_cast<uint16_t>(snapshot.id.size()));
    put(static_cast<uint16_t>(snapshot.name.size()));
    put(snapshot.date_seconds);
    put(snapshot.date_nanoseconds);
    put(snapshot.vm_clock_ns);
    put(static_cast<uint32_t>(legacy_size));
    put(static_cast<uint32_t>(extra_size));
    put(snapshot.vm_state_size);
    put(snapshot.disk_size.value_or(image_size));
    put(snapshot.instruction_count.value_or(kNoInstructionCount));
    out.insert(out.end(), snapshot.unknown_extra.begin(), snapshot.unknown_extra.end());
    put_text(snapshot.id);
    put_text(snapshot.name);
    out.resize(align_up(out.size(), 8));
  }
  if (snapshots.size() > kMaxSnapshots || out.size() > kMaxSnapshotTableBytes) {
    return fail(Error(ErrorCode::kTooLarge,
                      fmt::format("{} snapshots in {} bytes, at most {} in {} MiB are allowed",
                                  snapshots.size(), out.size(), kMaxSnapshots,
                                  kMaxSnapshotTableBytes / 1_MiB))
                    .because("qcow2-snapshot-table-size"));
  }
  return out;
}

std::optional<Error> snapshot_l1_problem(const Snapshot& snapshot, const Header& header) {
  if (!is_aligned(snapshot.l1_table_offset, header.cluster_size()) ||
      snapshot.l1_table_offset > kMaxDeviceSize - kMaxL1Bytes) {
    return Error(ErrorCode::kCorrupt,
                 fmt::format("L1 table of snapshot \"{}\" at 0x{:x} is not aligned to clusters of "
                             "{} bytes or past the largest possible file",
                             snapshot.name, snapshot.l1_table_offset, header.cluster_size()))
        .because("qcow2-snapshot-l1-offset", {snapshot.id.c_str(), snapshot.name.c_str(),
                                              fmt::format("{:x}", snapshot.l1_table_offset)});
  }
  if (snapshot.l1_bytes() > kMaxL1Bytes) {
    return Error(ErrorCode::kTooLarge,
                 fmt::format("L1 table of snapshot \"{}\" has {} entries, at most {} are allowed",
                             snapshot.name, snapshot.l1_size, kMaxL1Bytes / 8))
        .because("qcow2-snapshot-l1-size", {snapshot.id.c_str(), snapshot.name.c_str(),
                                            fmt::format("{:x}", snapshot.l1_size)});
  }
  return std::nullopt;
}

}  // namespace ashlar::qcow2
