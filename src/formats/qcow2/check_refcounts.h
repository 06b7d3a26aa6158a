// Holds the refcounts that an image stores against the references that were counted.
#pragma once

#include <cstdint>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "formats/qcow2/check_log.h"
#include "formats/qcow2/reference_counts.h"
#include "formats/qcow2/stored_refcounts.h"

namespace ashlar::qcow2 {

/// What holding them against each other gave, besides the findings.
struct RefcountComparison {
  uint64_t used_clusters = 0;  ///< one past the last that is counted or referenced
  bool needs_rebuild = false;  ///< a cluster in use counts 0, so that blocks may be missing too
};

/// Reports every cluster whose refcount is wrong; with `repair`, sets too large ones (kLeaks) or
/// all (kAll) right. Changed blocks may be in the cache of `stored` afterwards. Errors: what the
/// file gives.
Task<Result<RefcountComparison>> compare_refcounts(StoredRefcounts& stored, const Header& header,
                                                   const ReferenceCounts& counts, CheckLog& log,
                                                   Repair repair);

/// Reports every entry of the active tables whose copied flag contradicts the refcount; with
/// `repair` other than kNothing, sets the flags right.
/// Errors: what the file gives.
Task<Result<void>> check_copied_flags(Child& file, StoredRefcounts& stored, const Header& header,
                                      CheckLog& log, Repair repair);

}  // namespace ashlar::qcow2
