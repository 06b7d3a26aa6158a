// Who is still inside: per-loop counters of requests in flight, in two phases. They tell a drain
// that all requests have finished, and a freed resource that nobody who could have seen it is left.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "ashlar/loop.h"
#include "ashlar/task.h"

namespace ashlar {

/// Counts requests by the phase they entered in. Sleepable, wait-free to enter and leave.
///
/// A resource retired in phase p may be reused once phase() >= p + 2: to advance from a phase, all
/// requests that entered in the phase before must have left. A request that reads the phase, is
/// delayed, and counts itself late, starts late: it cannot have seen what was retired before.
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
    auto& counter = slots_[Loop::current().index()].inside[phase_.load() & 1];
    counter.fetch_add(1);
    return Ticket(counter);
  }
  uint64_t phase() const noexcept { return phase_.load(); }
  /// Moves to the next phase if all who entered in the one before have left. Never waits.
  void try_advance() noexcept;
  /// Requests inside now, over all loops and phases.
  uint64_t inside() const noexcept;
  /// Waits, polling by the loop's timer with a growing pause, until phase() >= `target`.
  /// The caller itself must be outside.
  Task<void> wait_for_phase(uint64_t target);

 private:
  struct alignas(64) Slot {
    std::atomic<uint64_t> inside[2];
  };
  std::atomic<uint64_t> phase_{2};
  std::array<Slot, kMaxLoops> slots_;
};

/// A door with a count of who is inside: open, or closed by one or more closers.
/// Enter costs two atomic operations on the loop's own cache line.
class Gate {
 public:
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
  /// Closes (counted) and waits until nobody is inside.
  Task<void> close();
  /// Takes one close back; the last one lets the waiting in, in order.
  void open() noexcept;
  bool closed() const noexcept { return closers_.load() != 0; }
  uint64_t inside() const noexcept;
  size_t waiting() const noexcept { return waiting_count_.load(); }

 private:
  friend class Pass;
  void exit(unsigned slot) noexcept;
  struct alignas(64) Slot {
    std::atomic<uint64_t> inside;
  };
  std::array<Slot, kMaxLoops> slots_;
  std::atomic<unsigned> closers_{0};
  std::atomic<size_t> waiting_count_{0};
  struct Lists;
  std::mutex guard_;
  std::vector<struct Waiter*> entering_;
  std::vector<struct Waiter*> closing_;
};

}  // namespace ashlar
