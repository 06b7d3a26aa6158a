// Memory that a file may take away: keeps a fault in it from ending the process.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

namespace ashlar {

/// Guards the mapping of a file that somebody else owns. Touching a page that the file has no more
/// (it was truncated, or no huge page is left) is a bus error. A guarded mapping is then replaced
/// by zeroed private memory, whole, and whoever touched it goes on; broken() tells. Other bus
/// errors go where they went before.
///
/// The system has one handler of bus errors per process. It is ours while any guard lives.
class BusErrorGuard {
 public:
  /// Most mappings that one process guards at a time.
  static constexpr size_t kMost = 4096;

  /// `pages` is all of the mapping, and stays mapped as long as the guard lives. Empty: there are
  /// kMost guards already.
  static std::optional<BusErrorGuard> over(std::span<std::byte> pages) noexcept;
  BusErrorGuard(BusErrorGuard&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  BusErrorGuard& operator=(BusErrorGuard other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~BusErrorGuard();

  /// A page was missing once: what is read here since then means nothing.
  bool broken() const noexcept;

 private:
  struct Slot;
  struct Handler;
  explicit BusErrorGuard(Slot& slot) noexcept : slot_(&slot) {}
  Slot* slot_ = nullptr;
};

}  // namespace ashlar
