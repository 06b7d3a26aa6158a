// Noting writes.
#include "graph/write_watch.h"

#include <algorithm>

namespace ashlar {

std::optional<WriteWatch::Exceeded> WriteWatch::note(ByteRange range) noexcept {
  const std::lock_guard lock(mutex_);
  for (TrackedBitmap& bitmap : bitmaps_) {
    if (!bitmap.recording()) continue;
    bitmap.mark(range);
    if (bitmap.life == TrackedBitmap::Life::kPersistent) unsaved_.store(true);
  }
  if (threshold_ == 0 || range.end() <= threshold_) return std::nullopt;
  const Exceeded exceeded = {threshold_, range.end() - threshold_};
  threshold_ = 0;
  refresh();
  return exceeded;
}

void WriteWatch::resized(uint64_t size) noexcept {
  const std::lock_guard lock(mutex_);
  for (TrackedBitmap& bitmap : bitmaps_) bitmap.resize(size);
}

void WriteWatch::set_threshold(uint64_t threshold, Listener listener) {
  listener_ = std::move(listener);
  const std::lock_guard lock(mutex_);
  threshold_ = threshold;
  refresh();
}

uint64_t WriteWatch::threshold() const {
  const std::lock_guard lock(mutex_);
  return threshold_;
}

void WriteWatch::refresh() noexcept {
  const bool recording = std::ranges::any_of(bitmaps_, &TrackedBitmap::recording);
  active_.store(recording || threshold_ != 0, std::memory_order_release);
}

}  // namespace ashlar
