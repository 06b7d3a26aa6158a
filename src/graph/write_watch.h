// Who wants to know of the writes to a node: its dirty bitmaps, and a threshold.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/bytes.h"
#include "graph/tracked_bitmap.h"

namespace ashlar {

/// Writes are noted before they are carried out, on any loop: what a bitmap does not have is as it
/// was. The rest is for the control loop; what must not fall between two requests (clearing a
/// bitmap while it is read) needs requests held. Costs one load where nobody watches.
class WriteWatch {
 public:
  WriteWatch() = default;
  WriteWatch(const WriteWatch&) = delete;

  bool active() const noexcept { return active_.load(std::memory_order_acquire); }
  /// How far a write went beyond the threshold that was set, which is none any more.
  struct Exceeded {
    uint64_t threshold = 0;
    uint64_t amount = 0;
  };
  std::optional<Exceeded> note(ByteRange range) noexcept;
  /// The disk has another size.
  void resized(uint64_t size) noexcept;

  // --- Bitmaps.

  using Bitmaps = std::vector<TrackedBitmap>;  // in the order they were made
  /// Runs `use`, with the bitmaps as its argument, while no write is noted.
  template <typename Use>
  auto with_bitmaps(Use use) {
    const std::lock_guard lock(mutex_);
    struct Refresh {
      WriteWatch& watch;
      ~Refresh() { watch.refresh(); }
    } refresh{*this};
    return use(bitmaps_);
  }
  /// Whether what the image keeps of persistent bitmaps is not what is here.
  bool unsaved() const noexcept { return unsaved_.load(); }
  void set_unsaved() noexcept { unsaved_.store(true); }
  void set_saved() noexcept { unsaved_.store(false); }
  /// Persistent bitmaps that the image has and that are to go.
  std::vector<std::string>& removed() noexcept { return removed_; }

  // --- The threshold.

  using Listener = std::function<void(const std::string& node, Exceeded exceeded)>;
  /// `listener` is called on the control loop, once, when a write ends beyond `threshold`.
  /// 0: never.
  void set_threshold(uint64_t threshold, Listener listener);
  uint64_t threshold() const;
  const Listener& listener() const noexcept { return listener_; }

 private:
  void refresh() noexcept;

  std::atomic<bool> active_{false};
  std::atomic<bool> unsaved_{false};
  mutable std::mutex mutex_;
  Bitmaps bitmaps_;                   // under mutex_
  uint64_t threshold_ = 0;            // under mutex_
  Listener listener_;                 // control loop
  std::vector<std::string> removed_;  // control loop
};

}  // namespace ashlar
