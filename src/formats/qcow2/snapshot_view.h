// Looking at an internal snapshot as if it were the disk.
#pragma once

#include "ashlar/driver.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/open_options.h"

namespace ashlar::qcow2 {

/// Whether the options select a snapshot rather than the disk.
bool selects_snapshot(const OpenOptions& options);

/// Lets `header` describe the snapshot that the options select: its L1 table and its size. For
/// images that are only read. Errors: kNotFound (reason "snapshot-not-found"); kCorrupt.
Task<Result<void>> view_snapshot(Child& file, Header& header, const OpenOptions& options);

}  // namespace ashlar::qcow2
