// The table of internal snapshots: decoding with limits, encoding.
// Specification: docs/interop/qcow2.rst, "Snapshots".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/image_info.h"
#include "ashlar/task.h"
#include "formats/qcow2/header.h"

namespace ashlar::qcow2 {

inline constexpr uint64_t kSnapshotEntryBytes = 40;  // without extra data and names
inline constexpr uint32_t kKnownSnapshotExtra = 24;
inline constexpr uint32_t kMinSnapshotExtraV3 = 16;
inline constexpr uint32_t kMaxSnapshotExtra = 1024;
inline constexpr uint64_t kMaxSnapshotTableBytes = 64_MiB;

/// One entry of the table.
struct Snapshot {
  uint64_t l1_table_offset = 0;  ///< unchecked: see snapshot_l1_problem()
  uint32_t l1_size = 0;
  std::string id;
  std::string name;
  uint32_t date_seconds = 0;
  uint32_t date_nanoseconds = 0;
  uint64_t vm_clock_ns = 0;
  uint64_t vm_state_size = 0;
  std::optional<uint64_t> disk_size;  ///< version 2 images may leave it out
  std::optional<uint64_t> instruction_count;
  uint32_t stored_extra_size = kKnownSnapshotExtra;
  std::vector<std::byte> unknown_extra;  ///< extra data past what is known, kept

  bool operator==(const Snapshot&) const = default;
  uint64_t l1_bytes() const { return uint64_t{l1_size} * 8; }
  /// As shown to users; `image_size` is for entries without a size.
  SnapshotInfo info(uint64_t image_size) const;
};

/// What reading does with a table that breaks a limit.
enum class TableDamage : uint8_t {
  kRefuse,
  kCut,  ///< leave out what is too much: for repair
};

struct SnapshotTable {
  std::vector<Snapshot> snapshots;
  uint64_t bytes = 0;           ///< up to the last name, without what was cut off
  uint32_t cut_snapshots = 0;   ///< left out at the end
  uint32_t cut_extra_data = 0;  ///< entries with too much extra data, which was left out
};

/// Reads the table that `header` describes, whose snapshot fields need not have been checked.
/// Errors: kCorrupt and kTooLarge with "qcow2-snapshot-..." reasons; what the file gives.
Task<Result<SnapshotTable>> read_snapshot_table(Child& file, const Header& header,
                                                TableDamage damage);

/// The table as written to the file. Entries get the extra data that version 3 asks for; those
/// without a size get `image_size`.
/// Errors: kTooLarge (reasons "qcow2-snapshot-table-size", "qcow2-snapshot-name").
Result<std::vector<std::byte>> encode_snapshot_table(std::span<const Snapshot> snapshots,
                                                     uint64_t image_size);

/// What is wrong with the place or size of a snapshot's L1 table, if anything.
std::optional<Error> snapshot_l1_problem(const Snapshot& snapshot, const Header& header);

}  // namespace ashlar::qcow2
