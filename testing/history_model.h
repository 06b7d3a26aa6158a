// What a qcow2 image may hold after a history: a flat model that also knows sizes and how exactly
// this format keeps its promises.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "testing/block_operation.h"
#include "testing/flat_model.h"
#include "testing/qcow2_shape.h"

namespace ashlar {

/// What of a discard of `range` reads as zeroes afterwards, in an image of `size` bytes.
ByteRange discarded_part(const Qcow2Shape& shape, ByteRange range, uint64_t size);
/// Writes `content`, durably: what a new model starts with.
void start_with(FlatModel& model, std::span<const std::byte> content);

/// Requests may overlap each other, but those that write through; resizes are alone.
class HistoryModel {
 public:
  /// `content`: what the image holds, durably. `largest`: the largest size it will ever have.
  HistoryModel(const Qcow2Shape& shape, std::span<const std::byte> content, uint64_t largest);

  using Id = uint64_t;
  Id begin(const BlockOperation& operation);
  void finish(Id id, FlatModel::Outcome outcome);

  uint64_t size() const { return size_; }
  /// After a failed resize: which of both it is.
  void set_size(uint64_t size) { size_ = size; }
  /// Whether the image may have this size after a power cut now.
  bool may_survive_with(uint64_t size) const;
  /// Where `content`, all of the image, is not possible. Empty: it is right.
  std::optional<uint64_t> mismatch(std::span<const std::byte> content) const {
    return model_.mismatch(0, content);
  }
  std::optional<uint64_t> mismatch_after_power_cut(std::span<const std::byte> content) const {
    return model_.mismatch_after_power_cut(0, content);
  }

 private:
  FlatModel::ChangeId begin_change(const BlockOperation& operation);

  Qcow2Shape shape_;
  FlatModel model_;  // as large as the image ever is; what is beyond the size reads as zeroes
  uint64_t size_;
  std::vector<uint64_t> sizes_;  // since the last flush, oldest first
  struct InFlight {
    BlockOperation operation;
    FlatModel::ChangeId change;
  };
  std::map<Id, InFlight> in_flight_;
  Id next_ = 1;
};

}  // namespace ashlar
