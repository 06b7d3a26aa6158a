// What a device must hold, kept the simplest way: for tests that run random histories against it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ashlar/bytes.h"

namespace ashlar {

/// An array of bytes that remembers, for every 512 of them, which contents are possible: after
/// requests that failed or are in flight, and after a power cut.
///
/// A unit may hold the last content whose request succeeded, or that of any request that was not
/// finished when that one began. After a power cut the same holds, counting only requests that
/// had succeeded when the last successful flush began.
///
/// Requests that are in flight together must not share a unit unless both cover it whole.
class FlatModel {
 public:
  static constexpr uint64_t kUnit = 512;
  using ChangeId = uint64_t;

  explicit FlatModel(uint64_t size) : size_(size) {}

  uint64_t size() const { return size_; }
  /// At once and durable, to keep it short. New bytes are zero.
  void resize(uint64_t size);

  ChangeId begin_write(ByteRange range, std::span<const std::byte> from);
  ChangeId begin_zero(ByteRange range);
  /// Afterwards the range holds zeroes or what it held.
  ChangeId begin_discard(ByteRange range);
  ChangeId begin_flush();

  enum class Outcome : uint8_t { kSucceeded, kFailed };
  void finish(ChangeId id, Outcome outcome = Outcome::kSucceeded);

  // A request that is alone.
  void write(ByteRange range, std::span<const std::byte> from) { finish(begin_write(range, from)); }
  void zero(ByteRange range) { finish(begin_zero(range)); }
  void discard(ByteRange range) { finish(begin_discard(range)); }
  void flush() { finish(begin_flush()); }

  /// Where `read`, the answer for the range from `offset`, is not possible. Empty: it is right.
  std::optional<uint64_t> mismatch(uint64_t offset, std::span<const std::byte> read) const {
    return find_mismatch(offset, read, &Unit::may_read);
  }
  /// The same for what is read after a power cut now.
  std::optional<uint64_t> mismatch_after_power_cut(uint64_t offset,
                                                   std::span<const std::byte> read) const {
    return find_mismatch(offset, read, &Unit::may_survive);
  }
  /// The content when everything has finished well and nothing was discarded.
  std::vector<std::byte> expected(ByteRange range) const;

 private:
  using Content = std::array<std::byte, kUnit>;
  static constexpr uint64_t kInFlight = ~uint64_t{0};

  struct Version {
    ChangeId change = 0;
    uint64_t began = 0;
    uint64_t finished = 0;
    bool succeeded = true;
    std::shared_ptr<const Content> content;  // null: zeroes
  };
  /// All contents that still matter, oldest first. The first succeeded, and is durable.
  struct Unit {
    std::vector<Version> versions;
    const Version& newest_success() const;
    const Version& newest_flushed(uint64_t flushed_before) const;
    bool may_read(const Version& version, uint64_t flushed_before) const;
    bool may_survive(const Version& version, uint64_t flushed_before) const;
  };
  struct Change {
    enum class Kind : uint8_t { kWrite, kDiscard, kFlush } kind;
    ByteRange range;
    uint64_t began;
  };
  using Rule = bool (Unit::*)(const Version&, uint64_t) const;

  std::optional<uint64_t> find_mismatch(uint64_t offset, std::span<const std::byte> read,
                                        Rule rule) const;
  ChangeId begin(Change::Kind kind, ByteRange range);
  Unit& unit_at(uint64_t index);
  void add_version(ChangeId change, uint64_t index, std::shared_ptr<const Content> content);
  void forget_superseded(Unit& unit) const;

  uint64_t size_;
  uint64_t clock_ = 0;
  uint64_t flushed_before_ = 0;  // when the last successful flush began
  ChangeId next_change_ = 1;
  std::map<uint64_t, Unit> units_;  // those not listed hold zeroes
  std::map<ChangeId, Change> in_flight_;
};

}  // namespace ashlar
