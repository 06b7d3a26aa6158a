// A disk with a volatile write cache, faults on demand, and a memory of everything that happened,
// so that a test can cut the power at any point and look at what would be left.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "testing/sparse_bytes.h"

namespace ashlar {

/// Kinds of requests, for faults and counts.
enum class DiskRequest : uint8_t { kRead, kWrite, kZero, kDiscard, kFlush, kResize };
inline constexpr size_t kDiskRequestKinds = 6;

/// What becomes of the requests whose effect was not yet durable when the power went.
/// Each 512 bytes is written whole or not at all.
struct PowerCut {
  enum class Rule : uint8_t {
    kNoneSurvives,
    kAllSurvive,
    kAllButOne,  ///< `value`: which of the unsettled, from 0
    kOnlyOne,    ///< `value`: which of the unsettled, from 0
    kSeeded,     ///< `value`: a seed; each survives whole, not at all, or torn
  };
  size_t point = 0;  ///< events of the log that happened
  Rule rule = Rule::kNoneSurvives;
  uint64_t value = 0;

  /// For messages: "power cut after event 12, all but unsettled request 3".
  std::string describe() const;
};

/// Behaves like a file on a disk: bytes past the end can be written and make it larger.
///
/// A request takes effect when it finishes; one that has begun and not finished when the power goes
/// may have happened in part. A flush makes durable what had finished when it began.
/// Used from one thread.
class SimulatedDisk {
 public:
  using RequestId = size_t;
  static constexpr uint64_t kUnit = 512;  // torn writes break here

  explicit SimulatedDisk(uint64_t size) : SimulatedDisk(SparseBytes(size)) {}
  /// A disk with `content`, all of it durable: what a power cut has left.
  explicit SimulatedDisk(SparseBytes content) : durable_(content), current_(std::move(content)) {}

  uint64_t size() const { return current_.size(); }
  /// What a read sees now.
  const SparseBytes& content() const { return current_; }

  // Requests at once. kOutOfRange for a read past the end; what faults order.
  Result<void> read(ByteRange range, MutableBuffers into);
  Result<void> write(ByteRange range, ConstBuffers from);
  Result<void> flush();
  Result<void> discard(ByteRange range);
  Result<void> write_zeroes(ByteRange range);
  Result<void> resize(uint64_t size);

  // Requests in two steps, so that they overlap. Each is finished once.
  enum class Durable : uint8_t { kAfterFlush, kWhenFinished };
  RequestId begin_write(ByteRange range, ConstBuffers from, Durable durable = Durable::kAfterFlush);
  RequestId begin_zero(ByteRange range, Durable durable = Durable::kAfterFlush);
  RequestId begin_discard(ByteRange range);
  RequestId begin_flush();
  RequestId begin_resize(uint64_t size);
  Result<void> finish(RequestId id);

  /// An order to fail. A failed flush makes nothing durable; a failed read gives no data.
  struct Fault {
    DiskRequest kind = DiskRequest::kWrite;
    uint64_t after = 0;  ///< how many more of that kind succeed first
    int os_error = 5;    ///< EIO
    enum class Repeat : uint8_t { kOnce, kForEver } repeat = Repeat::kOnce;
    /// Of a failing write, zero or discard.
    enum class Effect : uint8_t { kNone, kFirstHalf } effect = Effect::kNone;
  };
  void fail(const Fault& fault) { faults_.push_back(fault); }
  void heal() { faults_.clear(); }
  /// Requests of `kind` so far, failed ones too.
  uint64_t count(DiskRequest kind) const { return counts_[static_cast<size_t>(kind)]; }

  /// Length of the log: requests that began, and requests that finished, one event each.
  size_t events() const { return events_.size(); }
  /// Requests at `point` of which nobody can tell whether they survive a power cut.
  size_t unsettled(size_t point) const;
  /// What the disk holds when the power comes back. Cheapest for ascending points.
  SparseBytes after(const PowerCut& cut) const { return after(cut, undecided(cut.point)); }
  /// The event that `point` comes after, for messages: "finished write 0x1000+0x200".
  std::string describe_event(size_t point) const;

  /// Calls `visit(cut, content)` for every point of the log: nothing survives, everything does,
  /// each unsettled request alone and all but it, and `seeds` random mixtures. `seed` varies those.
  template <typename Visit>
  void for_each_power_cut(unsigned seeds, uint64_t seed, Visit&& visit) const;

 private:
  struct Request {
    DiskRequest kind;
    Durable durable;
    ByteRange range;  // of kResize: `offset` is the new size
    std::vector<std::byte> data;
    size_t began_at = 0;     // index of the event
    size_t finished_at = 0;  // kNever while in flight
    enum class Outcome : uint8_t { kPending, kDone, kFailed } outcome = Outcome::kPending;
  };
  static constexpr size_t kNever = ~size_t{0};
  struct Event {
    RequestId request;
    enum class What : uint8_t { kBegan, kFinished } what;
  };
  RequestId begin(Request request);
  const Fault* next_fault(DiskRequest kind);
  std::vector<RequestId> undecided(size_t point) const;
  size_t count_unsettled(size_t point, const std::vector<RequestId>& list) const;
  SparseBytes after(const PowerCut& cut, const std::vector<RequestId>& list) const;
  size_t durable_prefix(size_t point) const;
  static void apply(const Request& request, SparseBytes& to);
  static void apply_torn(const Request& request, uint64_t seed, SparseBytes& to);
  static bool changes_content(DiskRequest kind);

  SparseBytes durable_;  // at the start of the log
  SparseBytes current_;
  std::vector<Request> requests_;
  std::vector<Event> events_;
  std::vector<RequestId> changes_;  // finished, in the order in which they took effect
  std::vector<RequestId> flushes_;  // finished well, in that order
  std::vector<Fault> faults_;
  uint64_t counts_[kDiskRequestKinds] = {};

  // The content that is durable for sure after the first `prefix` changes.
  struct Base {
    size_t prefix = 0;
    SparseBytes content;
  };
  const SparseBytes& base_for(size_t prefix) const;
  mutable std::optional<Base> base_;
};

template <typename Visit>
void SimulatedDisk::for_each_power_cut(unsigned seeds, uint64_t seed, Visit&& visit) const {
  using Rule = PowerCut::Rule;
  for (size_t point = 0; point <= events(); ++point) {
    const std::vector<RequestId> list = undecided(point);
    auto look = [&](const PowerCut& cut) { visit(cut, after(cut, list)); };
    look({point, Rule::kNoneSurvives, 0});
    const size_t count = count_unsettled(point, list);
    if (count == 0) continue;
    look({point, Rule::kAllSurvive, 0});
    for (size_t index = 0; index < count && count > 1; ++index) {
      look({point, Rule::kAllButOne, index});
      look({point, Rule::kOnlyOne, index});
    }
    for (unsigned round = 0; round < seeds; ++round) {
      look({point, Rule::kSeeded, seed + point * 1000 + round});
    }
  }
}

}  // namespace ashlar
