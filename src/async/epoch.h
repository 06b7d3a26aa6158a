// Who is still inside: per-loop counters of requests in flight, in two phases. They tell a drain
// that all requests have finished, and a freed resource that nobody who could have seen it is left.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#include "ashlar/loop.h"
#include "ashlar/task.h"
#include "async/sync.h"

namespace ashlar {

/// Counts requests by the phase they entered in. Sleepable; entering repeats only when the phase
/// moved meanwhile, leaving never waits.
///
/// First make a resource unreachable, then read phase(): it is retired in phase p, and may be
/// reused once phase() >= p + 2. To move on from a phase, all requests that entered in the phase
/// before must have left; a request that enters in p + 1 or later cannot find it any more.
class EpochDomain {
 public:
  EpochDomain() = default;
  EpochDomain(const EpochDomain&) = delete;

  class [[nodiscard]] Ticket {
   public:
    Ticket() = default;
    explicit Ticket(std::atomic<uint64_t>& counter) : counter_(&counter) {}
    Ticket(Ticket&& other) noexcept : counter_(std::exchange(other.counter_, nullptr)) {}
    Ticket& operator=(Ticket&& other) noexcept {
      leave();
      counter_ = std::exchange(other.counter_, nullptr);
      return *this;
    }
    ~Ticket() { leave(); }
    void leave() noexcept {
      if (counter_ != nullptr) std::exchange(counter_, nullptr)->fetch_sub(1);
    }

   private:
    std::atomic<uint64_t>* counter_ = nullptr;
  };

  /// Enters on the current loop's counter.
  Ticket enter() noexcept {
    Slot& slot = slots_[Loop::current().index()];
    uint64_t phase = phase_.load();
    while (true) {
      auto& counter = slot.inside[phase & 1];
      counter.fetch_add(1);
      // Count first, then look again: else a phase could end without having seen this count.
      const uint64_t now = phase_.load();
      if (now == phase) [[likely]]
        return Ticket(counter);
      counter.fetch_sub(1);
      phase = now;
    }
  }
  /// The phase now. What this thread did before is seen by all who enter in a later phase.
  // A read-modify-write, so that the next phase is published on top of it.
  uint64_t phase() const noexcept { return phase_.fetch_add(0); }
  /// Moves to the next phase if all who entered in the one before have left. Never waits.
  void try_advance() noexcept;
  /// Requests inside now, over all loops and phases.
  uint64_t inside() const noexcept;
  /// Waits, polling by the loop's timer with a growing pause, until phase() >= `target`.
  /// The caller itself must be outside.
  Task<void> wait_for_phase(uint64_t target);

 private:
  struct alignas(64) Slot {
    std::atomic<uint64_t> inside[2] = {};
  };
  mutable std::atomic<uint64_t> phase_{2};
  std::array<Slot, kMaxLoops> slots_;
};

/// A door with a count of who is inside: open, or closed by one or more closers.
/// To enter an open gate costs one atomic operation on the loop's own cache line.
class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  ~Gate();

  class [[nodiscard]] Pass {
   public:
    Pass() = default;
    explicit Pass(Gate& gate, unsigned slot) : gate_(&gate), slot_(slot) {}
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)), slot_(other.slot_) {}
    Pass& operator=(Pass&& other) noexcept {
      leave();
      gate_ = std::exchange(other.gate_, nullptr);
      slot_ = other.slot_;
      return *this;
    }
    ~Pass() { leave(); }
    void leave() noexcept {
      if (gate_ != nullptr) std::exchange(gate_, nullptr)->exit(slot_);
    }

   private:
    Gate* gate_ = nullptr;
    unsigned slot_ = 0;
  };

  /// Enters if the gate is open.
  std::optional<Pass> try_enter() noexcept;
  /// Enters, waiting in order of arrival while the gate is closed.
  Task<Pass> enter();
  /// Closes (counted) and waits until nobody is inside. The caller must be outside.
  Task<void> close();
  /// Takes one close back, after it was awaited; the last one lets the waiting in, in order:
  /// they are inside before anybody can close again.
  void open() noexcept;
  bool closed() const noexcept { return closers_.load() != 0; }
  uint64_t inside() const noexcept;
  size_t waiting() const noexcept { return waiting_count_.load(); }

 private:
  class EnterAwaiter;
  class CloseAwaiter;
  void exit(unsigned slot) noexcept;

  // Bit 0: closed. The rest counts who is inside. One word, so that the one who leaves last knows
  // from its own subtraction that a closer waits, and touches nothing else when none does: the
  // gate may be gone by then.
  struct alignas(64) Slot {
    std::atomic<uint64_t> state{0};
  };
  static constexpr uint64_t kClosed = 1;
  static constexpr uint64_t kOneInside = 2;

  std::array<Slot, kMaxLoops> slots_;
  std::atomic<unsigned> closers_{0};
  std::atomic<size_t> waiting_count_{0};
  std::mutex guard_;
  unsigned occupied_ = 0;  // closed slots with somebody still inside
  WaitList entering_;
  WaitList closing_;
};

}  // namespace ashlar
