// Choosing a snapshot, and its tables in place of the disk's.
#include "formats/qcow2/snapshot_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/qcow2/snapshot_table.h"

namespace ashlar::qcow2 {
namespace {

bool is_selected(const Snapshot& snapshot, const OpenOptions& options) {
  if (options.snapshot_id && snapshot.id != *options.snapshot_id) return false;
  return !options.snapshot_name || snapshot.name == *options.snapshot_name;
}

Error not_found(const OpenOptions& options) {
  std::string what;
  if (options.snapshot_id) what += fmt::format(" with the ID \"{}\"", *options.snapshot_id);
  if (options.snapshot_name) what += fmt::format(" with the name \"{}\"", *options.snapshot_name);
  return Error(ErrorCode::kNotFound, fmt::format("there is no snapshot{}", what))
      .because("snapshot-not-found");
}

}  // namespace

bool selects_snapshot(const OpenOptions& options) {
  return options.snapshot_id || options.snapshot_name;
}

Task<Result<void>> view_snapshot(Child& file, Header& header, const OpenOptions& options) {
  const auto table = co_await read_snapshot_table(file, header, TableDamage::kRefuse);
  if (!table) co_return fail(table.error());
  const auto found = std::ranges::find_if(table->snapshots, [&options](const Snapshot& snapshot) {
    return is_selected(snapshot, options);
  });
  if (found == table->snapshots.end()) co_return fail(not_found(options));
  if (auto problem = snapshot_l1_problem(*found, header)) co_return fail(*problem);
  // Disks change their size: the snapshot is as large as the disk was.
  const uint64_t disk_size = header.virtual_size();
  header.size = found->disk_size.value_or(header.size);
  // Bitmaps are about the disk; they say nothing of one of another size.
  if (header.virtual_size() != disk_size) header.bitmaps.reset();
  const std::optional<uint32_t> entries = l1_entries_for(header, header.virtual_size());
  if (!entries || found->l1_size < *entries) {
    co_return fail(
        Error(ErrorCode::kCorrupt,
              fmt::format("L1 table of snapshot \"{}\" has {} entries, too few for {} bytes",
                          found->name, found->l1_size, header.virtual_size()))
            .because("qcow2-l1-too-small"));
  }
  header.l1_table_offset = found->l1_table_offset;
  header.l1_size = found->l1_size;
  co_return ok();
}

}  // namespace ashlar::qcow2
