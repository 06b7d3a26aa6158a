// Holds stored refcounts against counted references.
#include "formats/qcow2/check_refcounts.h"

#include <algorithm>

#include "base/checked.h"
#include "base/endian.h"

namespace ashlar::qcow2 {
namespace {

using Block = StoredRefcounts::Block;

/// Goes through the clusters of one refcount block after the other.
class Comparison {
 public:
  Comparison(StoredRefcounts& stored, const Header& header, const ReferenceCounts& counts,
             CheckLog& log, Repair repair)
      : stored_(stored), header_(header), counts_(counts), log_(log), repair_(repair) {}

  Task<Result<RefcountComparison>> run();

 private:
  Task<Result<void>> compare_block(uint64_t index, uint64_t end);
  uint64_t skip_equal(const Block& block, uint64_t cluster, uint64_t end);
  void report_unusable(uint64_t cluster, uint64_t index);
  Task<Result<void>> settle(uint64_t cluster, uint64_t is, uint64_t should);
  static uint64_t refcount_in(const Block& block, uint64_t index, unsigned order) {
    return block.state == Block::State::kStored ? get_refcount(block.bytes, index, order) : 0;
  }

  StoredRefcounts& stored_;
  const Header& header_;
  const ReferenceCounts& counts_;
  CheckLog& log_;
  Repair repair_;
  RefcountComparison result_;
};

Task<Result<RefcountComparison>> Comparison::run() {
  const uint64_t per_block = header_.refcounts_per_block();
  const uint64_t clusters = counts_.clusters();
  result_.used_clusters = std::min<uint64_t>(clusters, 1);
  for (uint64_t first = 0; first < clusters;) {
    const uint64_t index = first / per_block;
    const uint64_t end = std::min(clusters, (index + 1) * per_block);
    const bool absent = index >= stored_.table().size() || stored_.table()[index].offset() == 0;
    uint64_t untouched_end = first;
    if (absent && counts_.skip_untouched(untouched_end)) {
      // Neither counted nor referenced: large holes cost nothing.
      first = untouched_end;
      continue;
    }
    auto done = co_await compare_block(index, end);
    if (!done) co_return fail(done.error());
    first = end;
  }
  co_return result_;
}

Task<Result<void>> Comparison::compare_block(uint64_t index, uint64_t end) {
  const uint64_t per_block = header_.refcounts_per_block();
  auto block = co_await stored_.block(index);
  if (!block) co_return fail(block.error());
  for (uint64_t cluster = index * per_block; cluster < end; ++cluster) {
    const uint64_t equal = skip_equal(*block, cluster, end);
    if (equal != 0) {
      cluster += equal - 1;
      continue;
    }
    if (block->state == Block::State::kUnusable) {
      report_unusable(cluster, index);
      continue;
    }
    const uint64_t is = refcount_in(*block, cluster % per_block, header_.refcount_order);
    const uint64_t should = counts_.get(cluster);
    if ((is | should) != 0) result_.used_clusters = cluster + 1;
    if (is == should) continue;
    auto done = co_await settle(cluster, is, should);
    if (!done) co_return done;
  }
  co_return ok();
}

/// How many clusters from `cluster` on are right: 16-bit refcounts a few at once. 0: look closer.
uint64_t Comparison::skip_equal(const Block& block, uint64_t cluster, uint64_t end) {
  constexpr uint64_t kStep = 64;
  if (header_.refcount_order != 4 || block.state != Block::State::kStored) return 0;
  const uint64_t first = cluster % header_.refcounts_per_block();
  const std::byte* const is = block.bytes.data() + first * 2;
  const std::span<const uint16_t> should = counts_.piece_from(cluster);
  const uint64_t count = std::min<uint64_t>(should.size(), end - cluster) / kStep * kStep;
  uint64_t done = 0;
  for (; done < count; done += kStep) {
    uint16_t different = 0;
    bool many = false;
    for (uint64_t i = done; i < done + kStep; ++i) {
      different |= load_be<uint16_t>(is + i * 2) ^ should[i];
      many |= should[i] == ReferenceCounts::kManyReferences;
    }
    if (different != 0 || many) break;
    for (uint64_t i = done + kStep; i > done; --i) {
      if (should[i - 1] == 0) continue;
      result_.used_clusters = cluster + i;
      break;
    }
  }
  return done;
}

void Comparison::report_unusable(uint64_t cluster, uint64_t index) {
  const uint64_t offset = stored_.table()[index].offset();
  const bool aligned = is_aligned(offset, header_.cluster_size());
  if (!aligned && cluster % header_.refcounts_per_block() == 0) {
    const std::string number = index == 0 ? "0" : "0x" + hex(index);
    log_.note("qcow2-check-block-unusable", {hex(offset), number},
              fmt::format("refcount block {} at 0x{:x} cannot be read: it is not aligned", index,
                          offset));
  }
  log_.internal_error("qcow2-check-no-refcount", {std::to_string(cluster)},
                      fmt::format("cluster {} has no refcount that can be read", cluster));
}

/// One refcount that `is` not what it `should` be.
Task<Result<void>> Comparison::settle(uint64_t cluster, uint64_t is, uint64_t should) {
  if (is == 0) result_.needs_rebuild = true;
  const bool low = is < should;
  const std::string message =
      fmt::format("cluster {} has refcount {} and {} references", cluster, is, should);
  CheckLog::Values values = {std::to_string(cluster), std::to_string(is), std::to_string(should)};
  const bool repairs = low ? repair_ == Repair::kAll : repair_ != Repair::kNothing;
  const uint64_t index = cluster / header_.refcounts_per_block();
  const bool stored = index < stored_.table().size() && stored_.table()[index].offset() != 0;
  if (repairs && stored) {
    auto done = co_await stored_.set(cluster, should);
    if (!done) co_return done;
    if (low) {
      log_.repaired_corruption("qcow2-refcount-repair", std::move(values), message);
    } else {
      log_.repaired_leak("qcow2-refcount-repair", std::move(values), message);
    }
  } else if (low) {
    log_.corruption("qcow2-refcount-low", std::move(values), message);
  } else {
    log_.leak("qcow2-leak", std::move(values), message);
  }
  co_return ok();
}

}  // namespace

Task<Result<RefcountComparison>> compare_refcounts(StoredRefcounts& stored, const Header& header,
                                                   const ReferenceCounts& counts, CheckLog& log,
                                                   Repair repair) {
  Comparison comparison(stored, header, counts, log, repair);
  co_return co_await comparison.run();
}

}  // namespace ashlar::qcow2
