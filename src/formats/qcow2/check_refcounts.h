// Holds the refcounts that an image stores against the references that were counted.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "formats/qcow2/check_log.h"
#include "formats/qcow2/fixed_metadata.h"
#include "formats/qcow2/l2_entry.h"
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

/// Goes through the active tables and holds their copied flags against the refcounts.
class CopiedFlags {
 public:
  /// Everything must outlive this. With `repair` other than kNothing flags are set right, where
  /// that overwrites nothing but tables.
  struct Parts {
    Child& file;
    const Header& header;
    StoredRefcounts& stored;
    const FixedMetadata& fixed;
    CheckLog& log;
    Repair repair;
  };
  explicit CopiedFlags(const Parts& parts);

  /// Reports every entry whose flag contradicts the refcount.
  /// Errors: what the file gives.
  Task<Result<void>> run();

 private:
  Task<Result<void>> check_l1_entry(uint64_t index, L1Entry entry);
  Task<Result<void>> check_table(uint64_t offset);
  size_t skip_right(size_t index) const;
  Task<Result<void>> check_entry(size_t index, L2Entry entry);
  /// The refcount, and whether there is one at all.
  Task<Result<std::optional<uint64_t>>> refcount(uint64_t offset);
  std::optional<uint64_t> known_refcount(uint64_t offset);
  bool settle(std::string_view place, CheckLog::Values values, uint64_t refcount);

  Child& file_;
  const Header& header_;
  StoredRefcounts& stored_;
  const FixedMetadata& fixed_;
  CheckLog& log_;
  const Repair repair_;
  const EntryRules rules_;
  std::vector<std::byte> table_;
  std::optional<uint64_t> last_index_;  // of last_block_
  std::span<const std::byte> last_block_;
  bool table_changed_ = false;
  bool may_write_ = false;  // where the entry is that is looked at
};

}  // namespace ashlar::qcow2
