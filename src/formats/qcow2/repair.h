// Repairs of qcow2 images that write new structures.
#pragma once

#include <span>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/task.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/reference_counts.h"
#include "formats/qcow2/snapshot_table.h"
#include "formats/qcow2/stored_refcounts.h"

namespace ashlar::qcow2 {

/// Writes a new refcount structure with `counts` behind everything that exists, then lets the
/// header point to it. The old one stays counted, as a leak. Errors: kTooLarge (reason
/// "qcow2-check-rebuild-size"), kCorrupt ("qcow2-check-dangling": some of what is `dangling` past
/// the end of the file is where it would be), what the file gives.
Task<Result<void>> rebuild_refcounts(Child& file, Header& header, ReferenceCounts& counts,
                                     std::span<const ByteRange> dangling);

/// Writes `table` to free clusters, lets the header point to them, and frees those of the table
/// that the header pointed to, which had `old_bytes`.
/// Errors: kNoSpace when no refcount block has room, those of encoding and of the file.
Task<Result<void>> rewrite_snapshot_table(Child& file, Header& header, StoredRefcounts& stored,
                                          const SnapshotTable& table, uint64_t old_bytes);

/// Writes the header, durably.
Task<Result<void>> write_header(Child& file, const Header& header);

}  // namespace ashlar::qcow2
