// Checking and repairing a quiet qcow2 image.
#pragma once

#include "ashlar/error.h"
#include "ashlar/image_info.h"
#include "ashlar/task.h"
#include "formats/qcow2/header.h"

namespace ashlar {
class Child;
}  // namespace ashlar

namespace ashlar::qcow2 {

/// Checks everything that `header` and `file` say, and repairs what `options` ask for. Nothing else
/// may use the image meanwhile; `header` is updated with the file. An external data file is not
/// looked at: its clusters have no refcounts.
///
/// Repair is in steps that are durable one after the other, and a crash between any two leaves an
/// image that is no worse than before: nothing that is in use is overwritten, and clusters are
/// freed after nothing durable refers to them.
/// Errors: what the file gives; kIo (reason "qcow2-check-needs-rebuild") when only leaks may be
/// repaired but refcounts are missing; kCorrupt ("qcow2-check-table-foreign"); kTooLarge,
/// kNoMemory, kInvalidArgument for tables that cannot be gone through.
Task<Result<CheckReport>> check_image(Child& file, Header& header, const CheckOptions& options);

}  // namespace ashlar::qcow2
