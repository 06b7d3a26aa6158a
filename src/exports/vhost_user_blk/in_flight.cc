// The log of requests in flight: the layout for split rings, kept so that it tells the truth
// whenever this process ends. Numbers are in the machine's order.
#include "exports/vhost_user_blk/in_flight.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

namespace ashlar::vhost {
namespace {

constexpr size_t kVersionOffset = 8;
constexpr size_t kSizeOffset = 10;
constexpr size_t kLastBatchHeadOffset = 12;
constexpr size_t kUsedIndexOffset = 14;
constexpr size_t kHeaderSize = 16;

constexpr size_t kNextOffset = 6;
constexpr size_t kCounterOffset = 8;
constexpr size_t kEntrySize = 16;

constexpr uint16_t kVersion = 1;
constexpr size_t kAlignment = 64;

template <typename T>
T load(std::span<const std::byte> from, size_t offset) noexcept {
  T value;
  std::memcpy(&value, from.subspan(offset, sizeof value).data(), sizeof value);
  return value;
}

/// Stores happen in the order they are written here: the process may be killed between any two.
template <typename T>
void store(std::span<std::byte> to, size_t offset, T value) noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(to.subspan(offset, sizeof value).data(), &value, sizeof value);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

Error bad_log(std::string what) {
  return Error(ErrorCode::kInvalidArgument, std::move(what)).because("vhost-in-flight");
}

}  // namespace

size_t InFlightLog::size_for(uint32_t queue_size) {
  const size_t size = kHeaderSize + queue_size * kEntrySize;
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

Result<InFlightLog> InFlightLog::open(std::span<std::byte> area, uint16_t queue_size,
                                      uint16_t used_index, Resumed& resumed) {
  if (area.size() < kHeaderSize + queue_size * kEntrySize) {
    return fail(bad_log(fmt::format("{} bytes of log for a queue of {}", area.size(), queue_size)));
  }
  InFlightLog log;
  log.area_ = area;
  const auto version = load<uint16_t>(area, kVersionOffset);
  if (version == 0) {
    store<uint16_t>(area, kSizeOffset, queue_size);
    store<uint16_t>(area, kUsedIndexOffset, used_index);
    store<uint16_t>(area, kVersionOffset, kVersion);
    return log;
  }
  const auto size = load<uint16_t>(area, kSizeOffset);
  if (version != kVersion || size != queue_size) {
    return fail(bad_log(fmt::format("a log of version {} for {} entries, not {} for {}", version,
                                    size, kVersion, queue_size)));
  }
  if (Result<void> done = log.finish_last_batch(queue_size, used_index); !done) {
    return fail(done.error());
  }
  log.collect(queue_size, resumed);
  return log;
}

/// The process before may have been killed between showing a batch in the ring and noting so here.
Result<void> InFlightLog::finish_last_batch(uint16_t queue_size, uint16_t used_index) {
  last_batch_head_ = load<uint16_t>(area_, kLastBatchHeadOffset);
  const auto noted = load<uint16_t>(area_, kUsedIndexOffset);
  const auto batch = static_cast<uint16_t>(used_index - noted);
  if (batch > queue_size) {
    return fail(bad_log(fmt::format("a log at {} for a ring at {}", noted, used_index)));
  }
  uint16_t head = last_batch_head_;
  for (uint16_t index = 0; index < batch; ++index) {
    if (head >= queue_size) {
      return fail(bad_log(fmt::format("entry {} of a log of {}", head, queue_size)));
    }
    set_in_flight(head, 0);
    head = load<uint16_t>(entry(head), kNextOffset);
  }
  store<uint16_t>(area_, kUsedIndexOffset, used_index);
  return ok();
}

void InFlightLog::collect(uint16_t queue_size, Resumed& resumed) {
  std::vector<std::pair<uint64_t, uint16_t>> found;
  for (uint16_t head = 0; head < queue_size; ++head) {
    if (load<uint8_t>(entry(head), 0) == 0) continue;
    found.emplace_back(load<uint64_t>(entry(head), kCounterOffset), head);
  }
  std::ranges::sort(found);
  for (const auto& [counter, head] : found) resumed.heads.push_back(head);
  counter_ = found.empty() ? 0 : found.back().first + 1;
}

std::span<std::byte> InFlightLog::entry(uint16_t head) const noexcept {
  return area_.subspan(kHeaderSize + head * kEntrySize, kEntrySize);
}

void InFlightLog::set_in_flight(uint16_t head, uint8_t value) noexcept {
  store<uint8_t>(entry(head), 0, value);
}

void InFlightLog::take(uint16_t head) noexcept {
  if (area_.empty()) return;
  store<uint64_t>(entry(head), kCounterOffset, counter_++);
  set_in_flight(head, 1);
}

void InFlightLog::answer(uint16_t head) noexcept {
  if (area_.empty()) return;
  store<uint16_t>(entry(head), kNextOffset, last_batch_head_);
  store<uint16_t>(area_, kLastBatchHeadOffset, head);
  last_batch_head_ = head;
}

void InFlightLog::published(std::span<const uint16_t> heads, uint16_t used_index) noexcept {
  if (area_.empty()) return;
  for (const uint16_t head : heads) set_in_flight(head, 0);
  store<uint16_t>(area_, kUsedIndexOffset, used_index);
}

}  // namespace ashlar::vhost
