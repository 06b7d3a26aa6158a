// Checking and repairing a quiet qcow2 image: the order of the steps.
#include "formats/qcow2/check.h"

#include <algorithm>

#include "ashlar/driver.h"
#include "base/checked.h"
#include "formats/qcow2/check_log.h"
#include "formats/qcow2/check_refcounts.h"
#include "formats/qcow2/check_references.h"
#include "formats/qcow2/repair.h"

namespace ashlar::qcow2 {
namespace {

/// One check. The steps are in the order in which the peer reports what they find.
class ImageCheck {
 public:
  ImageCheck(Child& file, Header& header, const CheckOptions& options)
      : file_(file),
        header_(header),
        options_(options),
        log_(options, report_),
        repair_(options.repair),
        stored_(file, header) {}

  Task<Result<CheckReport>> run();

 private:
  Task<Result<void>> read_snapshots();
  void note_unreadable_snapshots(const Error& error);
  void check_snapshot_entries();
  Task<Result<void>> count_references();
  Task<Result<void>> settle_refcounts();
  Task<Result<void>> rebuild();
  Task<Result<void>> settle_copied_flags();
  Task<Result<void>> finish();
  ReferenceCounts make_counts() const {
    return {divide_up(file_.size(), header_.cluster_size()), max_refcount(header_.refcount_order)};
  }

  Child& file_;
  Header& header_;
  const CheckOptions& options_;
  CheckReport report_;
  CheckLog log_;
  const Repair repair_;
  StoredRefcounts stored_;

  SnapshotTable snapshots_;
  bool snapshots_changed_ = false;
  std::optional<FixedMetadata> fixed_;
  std::optional<ReferenceCounts> counts_;
  std::optional<std::vector<ByteRange>> dangling_;
  bool needs_rebuild_ = false;
  bool table_is_foreign_ = false;
  uint64_t used_clusters_ = 0;
};

/// Says in the peer's way why the table cannot be read.
void ImageCheck::note_unreadable_snapshots(const Error& error) {
  constexpr std::pair<std::string_view, std::string_view> kReasons[] = {
      {"qcow2-snapshot-table-offset", "qcow2-check-snapshots-offset"},
      {"qcow2-snapshot-table-size", "qcow2-check-snapshots-many"},
      {"qcow2-snapshot-table-bytes", "qcow2-check-snapshots-large"},
      {"qcow2-snapshot-extra", "qcow2-check-snapshot-extra"}};
  for (const auto& [from, to] : kReasons) {
    if (error.reason() != from) continue;
    log_.note(to, {error.values().begin(), error.values().end()}, error.message());
  }
}

Task<Result<void>> ImageCheck::read_snapshots() {
  // Also where there are none: whoever wrote the field wrote nonsense.
  if (!is_aligned(header_.snapshots_offset, header_.cluster_size())) {
    const Error error(ErrorCode::kInvalidArgument,
                      fmt::format("snapshot table at 0x{:x} is not aligned to clusters",
                                  header_.snapshots_offset));
    log_.note("qcow2-check-snapshots-offset", {}, error.message());
    co_return fail(error);
  }
  const TableDamage damage = repair_ == Repair::kAll ? TableDamage::kCut : TableDamage::kRefuse;
  auto table = co_await read_snapshot_table(file_, header_, damage);
  if (!table) {
    note_unreadable_snapshots(table.error());
    co_return fail(table.error());
  }
  snapshots_ = std::move(*table);
  check_snapshot_entries();
  co_return ok();
}

void ImageCheck::check_snapshot_entries() {
  if (snapshots_.cut_snapshots != 0) {
    snapshots_changed_ = true;
    report_.corruptions_fixed += snapshots_.cut_snapshots;
    log_.note("qcow2-check-snapshots-dropped", {std::to_string(snapshots_.cut_snapshots)},
              fmt::format("the last {} snapshots exceed the limits and are dropped",
                          snapshots_.cut_snapshots));
  }
  for (size_t i = 0; i < snapshots_.snapshots.size(); ++i) {
    Snapshot& snapshot = snapshots_.snapshots[i];
    if (snapshot.stored_extra_size > kMaxSnapshotExtra) {
      snapshots_changed_ = true;
      log_.repaired_corruption(
          "qcow2-check-snapshot-extra-dropped",
          {std::to_string(i), std::to_string(snapshot.stored_extra_size)},
          fmt::format("snapshot table entry {} has {} bytes of extra data, which are dropped", i,
                      snapshot.stored_extra_size));
      snapshot.unknown_extra.clear();
    }
    if (header_.version < 3 || snapshot.stored_extra_size >= kMinSnapshotExtraV3) continue;
    const std::string message = fmt::format("snapshot table entry {} has no size of its disk", i);
    if (repair_ == Repair::kAll) {
      snapshots_changed_ = true;
      log_.repaired_corruption("qcow2-check-snapshot-incomplete-repair", {std::to_string(i)},
                               message);
    } else {
      log_.corruption("qcow2-check-snapshot-incomplete", {std::to_string(i)}, message);
    }
  }
}

Task<Result<void>> ImageCheck::count_references() {
  counts_.emplace(make_counts());
  fixed_.emplace(header_, snapshots_, stored_);
  const ReferenceWalk::Parts parts{file_,   header_,  snapshots_, stored_,
                                   *fixed_, *counts_, log_,       repair_};
  ReferenceWalk walk(parts);
  auto done = co_await walk.run();
  if (!done) co_return done;
  const ByteRange l1 = fixed_->l1();
  for (uint64_t at = l1.offset; at < l1.end(); at += header_.cluster_size()) {
    if (counts_->get(at >> header_.cluster_bits) != 1) fixed_->doubt_l1();
  }
  needs_rebuild_ = walk.needs_rebuild();
  table_is_foreign_ = walk.table_is_foreign();
  dangling_ = walk.dangling();
  // What tables no longer refer to may be freed only after they are durable.
  if (walk.changed_tables()) done = co_await file_.flush();
  co_return done;
}

Task<Result<void>> ImageCheck::settle_refcounts() {
  const uint64_t corruptions_before = report_.corruptions;
  const auto found = co_await compare_refcounts(stored_, header_, *counts_, log_, Repair::kNothing);
  if (!found) co_return fail(found.error());
  used_clusters_ = found->used_clusters;
  needs_rebuild_ = needs_rebuild_ || found->needs_rebuild;
  if (repair_ == Repair::kNothing) co_return ok();
  if (needs_rebuild_) co_return co_await rebuild();
  // Where refcounts cannot be read, which ones to change is not known either.
  if (report_.check_errors != 0) co_return ok();
  if (report_.leaks == 0 && report_.corruptions == 0) co_return ok();

  report_.corruptions = corruptions_before;
  report_.leaks = 0;
  const auto settled = co_await compare_refcounts(stored_, header_, *counts_, log_, repair_);
  if (!settled) co_return fail(settled.error());
  auto done = co_await stored_.write_back();
  if (done) done = co_await file_.flush();
  co_return done;
}

Task<Result<void>> ImageCheck::rebuild() {
  if (repair_ == Repair::kLeaks) {
    log_.note("qcow2-check-needs-rebuild", {}, "refcounts are missing, which is no mere leak");
    co_return fail(Error(ErrorCode::kIo,
                         "the refcount structure must be rebuilt, which repairing "
                         "leaks does not do")
                       .because("qcow2-check-needs-rebuild"));
  }
  log_.note("qcow2-check-rebuild", {}, "rebuilding the refcount structure");
  if (table_is_foreign_) {
    co_return fail(Error(ErrorCode::kCorrupt,
                         "the refcount table was not written by anything that knows the format")
                       .because("qcow2-check-table-foreign"));
  }
  if (!dangling_) {
    co_return fail(Error(ErrorCode::kCorrupt, "too many tables refer past the end of the file")
                       .because("qcow2-check-work"));
  }
  auto done = co_await rebuild_refcounts(file_, header_, *counts_, *dangling_);
  if (!done) co_return done;
  done = co_await stored_.load();
  if (!done) co_return done;

  // Count again: the old structure is a leak now. That it is freed is no repair of the image.
  const CheckReport before = report_;
  report_.corruptions = report_.leaks = 0;
  report_.allocated_clusters = report_.fragmented_clusters = report_.compressed_clusters = 0;
  done = co_await count_references();
  if (!done) co_return done;
  CheckReport uncounted;
  CheckLog log(options_, uncounted);
  const auto settled = co_await compare_refcounts(stored_, header_, *counts_, log, Repair::kLeaks);
  if (!settled) co_return fail(settled.error());
  used_clusters_ = settled->used_clusters;
  report_.corruptions += uncounted.corruptions;
  report_.leaks += uncounted.leaks;
  report_.corruptions_fixed +=
      before.corruptions - std::min(before.corruptions, report_.corruptions);
  report_.leaks_fixed += before.leaks - std::min(before.leaks, report_.leaks);
  done = co_await stored_.write_back();
  if (done) done = co_await file_.flush();
  co_return done;
}

Task<Result<void>> ImageCheck::settle_copied_flags() {
  // A flag may promise that a cluster is not shared only where refcounts can be trusted.
  const bool sound = report_.check_errors == 0 && report_.corruptions == 0 && report_.leaks == 0;
  const bool may_repair = repair_ == Repair::kAll || (repair_ == Repair::kLeaks && sound);
  const Repair repair = may_repair ? repair_ : Repair::kNothing;
  const CopiedFlags::Parts parts{file_, header_, stored_, *fixed_, log_, repair};
  CopiedFlags flags(parts);
  auto done = co_await flags.run();
  if (done && may_repair) done = co_await file_.flush();
  co_return done;
}

/// What is to be said about the image as a whole, after everything else is durable.
Task<Result<void>> ImageCheck::finish() {
  if (repair_ == Repair::kNothing || report_.check_errors != 0) co_return ok();
  if (snapshots_changed_) {
    auto done =
        co_await rewrite_snapshot_table(file_, header_, stored_, snapshots_, snapshots_.bytes);
    if (!done) co_return fail(done.error().within("rewrite snapshot table"));
  }
  uint64_t clear = 0;
  // Refcounts are right now, whatever else is not.
  if (repair_ == Repair::kAll || report_.corruptions == 0) clear |= incompatible::kDirty;
  if (report_.corruptions == 0) clear |= incompatible::kCorrupt;
  if ((header_.incompatible_features & clear) == 0) co_return ok();
  header_.incompatible_features &= ~clear;
  co_return co_await write_header(file_, header_);
}

Task<Result<CheckReport>> ImageCheck::run() {
  using Step = Task<Result<void>> (ImageCheck::*)();
  report_.total_clusters = divide_up(header_.virtual_size(), header_.cluster_size());
  auto done = co_await stored_.load();
  if (!done) co_return fail(done.error());
  for (const Step step :
       {&ImageCheck::read_snapshots, &ImageCheck::count_references, &ImageCheck::settle_refcounts,
        &ImageCheck::settle_copied_flags, &ImageCheck::finish}) {
    done = co_await (this->*step)();
    if (!done) co_return fail(done.error());
  }
  report_.image_end_offset = used_clusters_ * header_.cluster_size();
  co_return report_;
}

}  // namespace

Task<Result<CheckReport>> check_image(Child& file, Header& header, const CheckOptions& options) {
  ImageCheck check(file, header, options);
  co_return co_await check.run();
}

}  // namespace ashlar::qcow2
