// The walk over a source's block status.
#include "tools/img/copy_plan.h"

#include <algorithm>

namespace ashlar::tools {
namespace {

/// The most that is zeroed, or stepped over, at once: so that progress shows and ^C works.
constexpr uint64_t kZeroStep = 1_GiB;

}  // namespace

Task<std::optional<CopyPiece>> CopyPlan::next() {
  const Mutex::Guard guard = co_await lock_.lock();
  Result<std::optional<CopyPiece>> piece = co_await cut();
  if (piece) co_return *piece;
  if (!error_) error_ = piece.error();
  stop();
  co_return std::nullopt;
}

Task<Result<std::optional<CopyPiece>>> CopyPlan::cut() {
  while (position_ < source_.size() && !stopped()) {
    const uint64_t left = source_.size() - position_;
    // Data in several places of the source still makes one piece.
    const bool grows = run_.length == 0 || (run_.kind == Kind::kData && ahead_.length == 0);
    const uint64_t needed = std::min(left, grows ? rules_.piece : rules_.unit);
    const bool end_alone = rules_.end == CopyRules::End::kCopied;
    if (end_alone && left < rules_.unit) run_ = {Kind::kData, left};
    if (run_.length < needed) {
      const Result<void> filled = co_await fill(needed);
      if (!filled) co_return fail(filled.error());
    }
    uint64_t length = std::min(run_.length, left);
    const bool cuts = length < left || (end_alone && length > rules_.unit);
    if (cuts) length = align_down(length, rules_.unit);
    length = std::min(length, run_.kind == Kind::kData ? rules_.piece : kZeroStep);
    const Kind kind = run_.kind;
    const ByteRange range{position_, length};
    position_ += length;
    run_.length -= length;
    if (run_.length == 0) run_ = std::exchange(ahead_, {});
    if (report_) report_(position_);
    if (can_skip(kind)) continue;
    using enum CopyPiece::Kind;
    co_return CopyPiece{kind == Kind::kZero ? kZero : kData, range, turn_++};
  }
  co_return std::nullopt;
}

Task<Result<void>> CopyPlan::fill(uint64_t needed) {
  const uint64_t unit = std::min(rules_.unit, source_.size() - position_);
  while (run_.length < needed && ahead_.length == 0) {
    const uint64_t offset = position_ + run_.length;
    if (offset >= source_.size()) break;
    const Result<Run> next = co_await look(offset);
    if (!next) co_return fail(next.error());
    if (run_.length == 0) {
      run_ = *next;
    } else if (run_.kind == next->kind) {
      run_.length += next->length;
    } else {
      ahead_ = *next;
    }
    // More than a unit is worth looking for only if it is data.
    if (run_.kind != Kind::kData && run_.length >= unit) break;
  }
  if (run_.length >= unit) co_return ok();
  // A unit of several kinds. What is behind it is looked at again.
  run_ = {Kind::kData, unit};
  ahead_ = {};
  co_return ok();
}

Task<Result<CopyPlan::Run>> CopyPlan::look(uint64_t offset) {
  const ByteRange rest{offset, source_.size() - offset};
  const Result<Extent> extent = co_await source_.status(rest, rules_.layers);
  if (!extent) co_return fail(extent.error());
  co_return Run{kind_of(*extent, offset), extent->length};
}

CopyPlan::Kind CopyPlan::kind_of(const Extent& extent, uint64_t offset) const {
  if (extent.zero && rules_.holes == CopyRules::Holes::kCopied) return Kind::kData;
  if (extent.zero) {
    // Past the end of the target's backing image nothing shows through.
    return rules_.layers != 0 && !extent.present && offset >= rules_.backing_size ? Kind::kBelow
                                                                                  : Kind::kZero;
  }
  if (rules_.layers != 0 && !extent.present) return Kind::kBelow;
  return Kind::kData;
}

bool CopyPlan::can_skip(Kind kind) const {
  if (kind == Kind::kBelow) return true;
  return kind == Kind::kZero && rules_.holes == CopyRules::Holes::kSkipped;
}

}  // namespace ashlar::tools
