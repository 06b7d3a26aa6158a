// The model of histories.
#include "testing/history_model.h"

#include <algorithm>

#include "base/zero_scan.h"

namespace ashlar {

using Kind = BlockOperation::Kind;

ByteRange discarded_part(const Qcow2Shape& shape, ByteRange range, uint64_t size) {
  if (shape.version < 3 && shape.backing == Qcow2Shape::Backing::kNamed) return {};
  const uint64_t begin = align_up(range.offset, shape.cluster_size());
  const bool to_the_end = range.end() == size;
  const uint64_t end = to_the_end ? size : align_down(range.end(), shape.cluster_size());
  return begin < end ? ByteRange{begin, end - begin} : ByteRange{};
}

void start_with(FlatModel& model, std::span<const std::byte> content) {
  for (uint64_t at = 0; at < content.size(); at += FlatModel::kUnit) {
    const auto unit = content.subspan(at, std::min(FlatModel::kUnit, content.size() - at));
    // Zeroes are there anyway.
    if (!is_zero(unit)) model.write({at, unit.size()}, unit);
  }
  model.flush();
}

HistoryModel::HistoryModel(const Qcow2Shape& shape, std::span<const std::byte> content,
                           uint64_t largest)
    : shape_(shape), model_(largest), size_(content.size()), sizes_{content.size()} {
  start_with(model_, content);
}

bool HistoryModel::may_survive_with(uint64_t size) const {
  return std::ranges::find(sizes_, size) != sizes_.end();
}

FlatModel::ChangeId HistoryModel::begin_change(const BlockOperation& operation) {
  switch (operation.kind) {
    case Kind::kWrite:
    case Kind::kWriteThrough:
    case Kind::kCompressed:
      return model_.begin_write(operation.range, operation.bytes());
    case Kind::kZero:
    case Kind::kZeroThrough:
    case Kind::kZeroUnmap:
      return model_.begin_zero(operation.range);
    case Kind::kDiscard:
      return model_.begin_zero(discarded_part(shape_, operation.range, size_));
    case Kind::kResize: {
      sizes_.push_back(operation.range.offset);
      const uint64_t kept = std::min(size_, operation.range.offset);
      return model_.begin_zero({kept, model_.size() - kept});
    }
    case Kind::kFlush:
      return model_.begin_flush();
    case Kind::kRead:
    case Kind::kStatus:
      break;
  }
  return model_.begin_zero({});
}

HistoryModel::Id HistoryModel::begin(const BlockOperation& operation) {
  in_flight_[next_] = {operation, begin_change(operation)};
  return next_++;
}

void HistoryModel::finish(Id id, FlatModel::Outcome outcome) {
  const InFlight done = in_flight_.at(id);
  in_flight_.erase(id);
  model_.finish(done.change, outcome);
  if (outcome == FlatModel::Outcome::kFailed) return;
  if (done.operation.kind == Kind::kResize) size_ = done.operation.range.offset;
  // Writing through is done by flushing.
  const Kind kind = done.operation.kind;
  if (kind == Kind::kWriteThrough || kind == Kind::kZeroThrough) model_.flush();
  if (kind == Kind::kWriteThrough || kind == Kind::kZeroThrough || kind == Kind::kFlush) {
    sizes_ = {size_};
  }
}

}  // namespace ashlar
