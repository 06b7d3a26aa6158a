// The flat model: versions of units, and which of them are possible.
#include "testing/flat_model.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace ashlar {

const FlatModel::Version& FlatModel::Unit::newest_success() const {
  const Version* newest = &versions.front();
  for (const Version& version : versions) {
    if (version.succeeded && version.finished >= newest->finished) newest = &version;
  }
  return *newest;
}

const FlatModel::Version& FlatModel::Unit::newest_flushed(uint64_t flushed_before) const {
  const Version* newest = &versions.front();
  for (const Version& version : versions) {
    const bool durable = version.succeeded && version.finished < flushed_before;
    if (durable && version.finished >= newest->finished) newest = &version;
  }
  return *newest;
}

bool FlatModel::Unit::may_read(const Version& version, uint64_t) const {
  const Version& newest = newest_success();
  return &version == &newest || version.finished > newest.began;
}

bool FlatModel::Unit::may_survive(const Version& version, uint64_t flushed_before) const {
  const Version& newest = newest_flushed(flushed_before);
  return &version == &newest || version.finished > newest.began;
}

FlatModel::Unit& FlatModel::unit_at(uint64_t index) {
  Unit& unit = units_[index];
  if (unit.versions.empty()) unit.versions.push_back({});  // zeroes since ever
  return unit;
}

FlatModel::ChangeId FlatModel::begin(Change::Kind kind, ByteRange range) {
  assert(!range.wraps() && range.end() <= size_);
  in_flight_[next_change_] = {kind, range, ++clock_};
  return next_change_++;
}

void FlatModel::add_version(ChangeId change, uint64_t index,
                            std::shared_ptr<const Content> content) {
  unit_at(index).versions.push_back({.change = change,
                                     .began = clock_,
                                     .finished = kInFlight,
                                     .succeeded = false,
                                     .content = std::move(content)});
}

FlatModel::ChangeId FlatModel::begin_write(ByteRange range, std::span<const std::byte> from) {
  assert(from.size() == range.length);
  const ChangeId id = begin(Change::Kind::kWrite, range);
  uint64_t offset = range.offset;
  while (!from.empty()) {
    const uint64_t skip = offset % kUnit;
    const size_t count = std::min<size_t>(from.size(), kUnit - skip);
    auto content = std::make_shared<Content>();
    const auto& old = unit_at(offset / kUnit).newest_success().content;
    if (old != nullptr && count < kUnit) *content = *old;
    std::memcpy(content->data() + skip, from.data(), count);
    add_version(id, offset / kUnit, std::move(content));
    offset += count;
    from = from.subspan(count);
  }
  return id;
}

FlatModel::ChangeId FlatModel::begin_zero(ByteRange range) {
  static constexpr Content kZeroes = {};
  const ChangeId id = begin(Change::Kind::kWrite, range);
  for (uint64_t offset = range.offset; offset < range.end();) {
    const uint64_t skip = offset % kUnit;
    const uint64_t count = std::min(range.end() - offset, kUnit - skip);
    std::shared_ptr<Content> content;
    const auto& old = unit_at(offset / kUnit).newest_success().content;
    if (old != nullptr && count < kUnit) {
      content = std::make_shared<Content>(*old);
      std::memcpy(content->data() + skip, kZeroes.data(), count);
    }
    add_version(id, offset / kUnit, std::move(content));
    offset += count;
  }
  return id;
}

FlatModel::ChangeId FlatModel::begin_discard(ByteRange range) {
  const ChangeId id = begin_zero(range);
  in_flight_[id].kind = Change::Kind::kDiscard;
  return id;
}

FlatModel::ChangeId FlatModel::begin_flush() { return begin(Change::Kind::kFlush, {}); }

void FlatModel::finish(ChangeId id, Outcome outcome) {
  const auto found = in_flight_.find(id);
  assert(found != in_flight_.end());
  const Change change = found->second;
  in_flight_.erase(found);
  ++clock_;
  const bool succeeded = outcome == Outcome::kSucceeded;
  if (change.kind == Change::Kind::kFlush) {
    if (!succeeded) return;
    flushed_before_ = std::max(flushed_before_, change.began);
    for (auto& [index, unit] : units_) forget_superseded(unit);
    return;
  }
  if (change.range.empty()) return;
  const auto last = units_.upper_bound((change.range.end() - 1) / kUnit);
  for (auto at = units_.lower_bound(change.range.offset / kUnit); at != last; ++at) {
    for (Version& version : at->second.versions) {
      if (version.change != id) continue;
      version.finished = clock_;
      // A discard never counts as the one content: the old one stays possible.
      version.succeeded = succeeded && change.kind != Change::Kind::kDiscard;
    }
  }
}

void FlatModel::forget_superseded(Unit& unit) const {
  const Version durable = unit.newest_flushed(flushed_before_);
  std::vector<Version> kept = {durable};
  for (const Version& version : unit.versions) {
    if (version.change != durable.change && version.finished > durable.began) {
      kept.push_back(version);
    }
  }
  unit.versions = std::move(kept);
}

void FlatModel::resize(uint64_t size) {
  if (size < size_) {
    units_.erase(units_.lower_bound((size + kUnit - 1) / kUnit), units_.end());
    if (size % kUnit != 0) {
      const uint64_t end = std::min(size_, (size / kUnit + 1) * kUnit);
      zero({size, end - size});
    }
  }
  size_ = size;
}

std::optional<uint64_t> FlatModel::find_mismatch(uint64_t offset, std::span<const std::byte> read,
                                                 Rule rule) const {
  static constexpr Content kZeroes = {};
  static const Unit kNeverWritten = {.versions = {Version{}}};
  while (!read.empty()) {
    const uint64_t skip = offset % kUnit;
    const size_t count = std::min<size_t>(read.size(), kUnit - skip);
    const auto found = units_.find(offset / kUnit);
    const Unit& unit = found == units_.end() ? kNeverWritten : found->second;
    const bool possible = std::ranges::any_of(unit.versions, [&](const Version& version) {
      const Content& content = version.content == nullptr ? kZeroes : *version.content;
      return std::memcmp(content.data() + skip, read.data(), count) == 0 &&
             (unit.*rule)(version, flushed_before_);
    });
    if (!possible) return offset;
    offset += count;
    read = read.subspan(count);
  }
  return std::nullopt;
}

std::vector<std::byte> FlatModel::expected(ByteRange range) const {
  std::vector<std::byte> bytes(range.length);
  for (uint64_t offset = range.offset; offset < range.end();) {
    const uint64_t skip = offset % kUnit;
    const uint64_t count = std::min(range.end() - offset, kUnit - skip);
    const auto found = units_.find(offset / kUnit);
    if (found != units_.end()) {
      const auto& content = found->second.newest_success().content;
      if (content != nullptr) {
        std::memcpy(bytes.data() + (offset - range.offset), content->data() + skip, count);
      }
    }
    offset += count;
  }
  return bytes;
}

}  // namespace ashlar
