// Requests and config space of the block device.
#include "exports/vhost_user_blk/block_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/checked.h"
#include "base/endian.h"

namespace ashlar::vhost {
namespace {

constexpr uint64_t kSector = 512;

// Bit numbers of the device's features.
constexpr unsigned kSegmentsMost = 2;
constexpr unsigned kReadOnly = 5;
constexpr unsigned kBlockSize = 6;
constexpr unsigned kFlush = 9;
constexpr unsigned kTopology = 10;
constexpr unsigned kConfigCache = 11;
constexpr unsigned kMultiQueue = 12;
constexpr unsigned kDiscard = 13;
constexpr unsigned kWriteZeroes = 14;

// Types of requests.
constexpr uint32_t kTypeRead = 0;
constexpr uint32_t kTypeWrite = 1;
constexpr uint32_t kTypeFlush = 4;
constexpr uint32_t kTypeIdentify = 8;
constexpr uint32_t kTypeDiscard = 11;
constexpr uint32_t kTypeWriteZeroes = 13;

constexpr size_t kHeaderSize = 16;
constexpr size_t kStatusSize = 1;

// Of a discard or a write of zeroes.
constexpr size_t kRangeSize = 16;
constexpr uint32_t kMostRanges = 32;
constexpr uint32_t kMostRangeSectors = uint32_t{1} << 22;  // 2 GiB
constexpr uint32_t kUnmap = 1;

// Offsets in the config space.
constexpr size_t kCapacityAt = 0;
constexpr size_t kSegmentsMostAt = 12;
constexpr size_t kBlockSizeAt = 20;
constexpr size_t kSmallestTransferAt = 26;
constexpr size_t kBestTransferAt = 28;
constexpr size_t kWriteBackAt = 32;
constexpr size_t kQueuesAt = 34;
constexpr size_t kDiscardSectorsAt = 36;
constexpr size_t kDiscardRangesAt = 40;
constexpr size_t kDiscardAlignmentAt = 44;
constexpr size_t kZeroSectorsAt = 48;
constexpr size_t kZeroRangesAt = 52;
constexpr size_t kZeroesMayUnmapAt = 56;

/// One piece of a discard or a write of zeroes.
struct Piece {
  ByteRange range;
  bool unmap = false;
};

StartedRequest ended(Status status) { return {.work = {}, .status = status}; }

/// Sectors as bytes; empty when no device is that large.
std::optional<ByteRange> bytes_of(uint64_t sector, uint64_t length) {
  const std::optional<uint64_t> offset = checked_mul(sector, kSector);
  if (!offset) return std::nullopt;
  const std::optional<uint64_t> end = checked_add(*offset, length);
  if (!end || *end > kMaxDeviceSize) return std::nullopt;
  return ByteRange(*offset, length);
}

Task<Result<void>> discard_all(Backend& backend, std::vector<Piece> pieces) {
  for (const Piece& piece : pieces) {
    Result<void> done = co_await backend.discard(piece.range);
    if (!done) co_return done;
  }
  co_return ok();
}

Task<Result<void>> zero_all(Backend& backend, std::vector<Piece> pieces, ZeroFlags flags) {
  for (const Piece& piece : pieces) {
    flags.may_unmap = piece.unmap;
    Result<void> done = co_await backend.write_zeroes(piece.range, flags);
    if (!done) co_return done;
  }
  co_return ok();
}

}  // namespace

Result<BlockRequest> BlockRequest::decode(const DescriptorChain& chain) {
  if (chain.readable_size() < kHeaderSize || chain.writable_size() < kStatusSize) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("a request of {} bytes to read and {} to write",
                                  chain.readable_size(), chain.writable_size()))
                    .because("vhost-request"));
  }
  std::array<std::byte, kHeaderSize> header;
  chain.readable().slice(0, kHeaderSize).copy_to(header);
  // What is looked at below is this copy: the compiler may not go back to the guest's bytes.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  BlockRequest request;
  request.type = load_le<uint32_t>(header.data());
  request.sector = load_le<uint64_t>(header.data() + 8);
  request.from = chain.readable().from(kHeaderSize);
  const size_t filled = chain.writable_size() - kStatusSize;
  request.into = chain.writable().slice(0, filled);
  request.status = chain.writable().slice(filled, kStatusSize).single().data();
  return request;
}

uint64_t BlockDevice::features() const noexcept {
  uint64_t features = bit(kRingIndirect) | bit(kRingEventIndex) | bit(kProtocolFeatures) |
                      bit(kVersion1) | bit(kSegmentsMost) | bit(kBlockSize) | bit(kFlush) |
                      bit(kTopology) | bit(kMultiQueue);
  if (setup_.writable) {
    features |= bit(kConfigCache) | bit(kDiscard) | bit(kWriteZeroes);
  } else {
    features |= bit(kReadOnly);
  }
  return features;
}

void BlockDevice::reset() noexcept {
  accepted_.store(0);
  write_back_.store(!setup_.write_through);
}

void BlockDevice::accept(uint64_t features) noexcept {
  accepted_.store(features & this->features());
}

bool BlockDevice::through() const noexcept {
  if (setup_.write_through) return true;
  const uint64_t accepted = accepted_.load(std::memory_order_relaxed);
  // A driver that does not know flushes cannot ask for durability.
  if ((accepted & bit(kFlush)) == 0) return true;
  return (accepted & bit(kConfigCache)) != 0 && !write_back_.load(std::memory_order_relaxed);
}

std::array<std::byte, BlockDevice::kConfigSize> BlockDevice::config() const {
  std::array<std::byte, kConfigSize> space = {};
  const auto put = [&space]<typename T>(size_t offset, T value) {
    store_le<T>(space.data() + offset, value);
  };
  // Without a medium there is nothing to address.
  put(kCapacityAt, setup_.backend->size().value_or(0) / kSector);
  put(kSegmentsMostAt, static_cast<uint32_t>(DescriptorChain::kMostDataSegments));
  put(kBlockSizeAt, setup_.block_size);
  put(kSmallestTransferAt, uint16_t{1});
  put(kBestTransferAt, uint32_t{1});
  const bool flush_refused =
      (accepted_.load() & (bit(kConfigCache) | bit(kFlush))) == bit(kConfigCache);
  put(kWriteBackAt, static_cast<uint8_t>(write_back_.load() && !flush_refused));
  put(kQueuesAt, setup_.queues);
  if (!setup_.writable) return space;
  put(kDiscardSectorsAt, kMostRangeSectors);
  put(kDiscardRangesAt, kMostRanges);
  put(kDiscardAlignmentAt, static_cast<uint32_t>(setup_.block_size / kSector));
  put(kZeroSectorsAt, kMostRangeSectors);
  put(kZeroRangesAt, kMostRanges);
  put(kZeroesMayUnmapAt, uint8_t{1});
  return space;
}

Result<void> BlockDevice::set_config(const ConfigPart& part) {
  const bool one_byte = part.offset == kWriteBackAt && part.bytes.size() == 1;
  const auto value = one_byte ? std::to_integer<uint8_t>(part.bytes[0]) : uint8_t{0};
  // Write-through was asked for by the user: a guest cannot take it back.
  if (!one_byte || value > 1 || !setup_.writable || (setup_.write_through && value != 0)) {
    return fail(Error(ErrorCode::kReadOnly,
                      fmt::format("{} bytes at {} of the config space cannot be written",
                                  part.bytes.size(), part.offset))
                    .because("vhost-config"));
  }
  write_back_.store(value != 0);
  return ok();
}

StartedRequest BlockDevice::start(const BlockRequest& request) {
  switch (request.type) {
    case kTypeRead:
    case kTypeWrite:
      return start_transfer(request);
    case kTypeFlush:
      return {.work = setup_.backend->flush()};
    case kTypeIdentify:
      return identify(request);
    case kTypeDiscard:
    case kTypeWriteZeroes:
      return start_ranges(request);
    default:
      return ended(Status::kUnsupported);
  }
}

StartedRequest BlockDevice::start_transfer(const BlockRequest& request) {
  const bool reading = request.type == kTypeRead;
  const uint64_t length = reading ? request.into.size() : request.from.size();
  const std::optional<ByteRange> range = bytes_of(request.sector, length);
  if (!range || !is_aligned(range->offset | length, setup_.block_size) ||
      (!reading && !setup_.writable)) {
    return ended(Status::kError);
  }
  if (reading) return {.work = setup_.backend->read(*range, request.into), .fills = length};
  WriteFlags flags;
  flags.fua = through();
  flags.outlives_process = true;  // the guest goes on when it is served again
  return {.work = setup_.backend->write(*range, request.from, flags)};
}

StartedRequest BlockDevice::start_ranges(const BlockRequest& request) {
  const size_t size = request.from.size();
  const bool discard = request.type == kTypeDiscard;
  if (!setup_.writable || size == 0 || size % kRangeSize != 0 || size / kRangeSize > kMostRanges) {
    return ended(Status::kError);
  }
  std::array<std::byte, kRangeSize * kMostRanges> copy;
  request.from.copy_to(std::span(copy).first(size));
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::vector<Piece> pieces;
  for (size_t at = 0; at < size; at += kRangeSize) {
    const auto sectors = load_le<uint32_t>(copy.data() + at + 8);
    const auto flags = load_le<uint32_t>(copy.data() + at + 12);
    if ((flags & ~kUnmap) != 0 || (discard && flags != 0)) return ended(Status::kUnsupported);
    const std::optional<ByteRange> range =
        bytes_of(load_le<uint64_t>(copy.data() + at), sectors * kSector);
    if (!range || sectors > kMostRangeSectors ||
        !is_aligned(range->offset | range->length, setup_.block_size)) {
      return ended(Status::kError);
    }
    pieces.push_back({*range, (flags & kUnmap) != 0});
  }
  if (discard) return {.work = discard_all(*setup_.backend, std::move(pieces))};
  ZeroFlags flags;
  flags.fua = through();
  flags.outlives_process = true;
  return {.work = zero_all(*setup_.backend, std::move(pieces), flags)};
}

StartedRequest BlockDevice::identify(const BlockRequest& request) const {
  std::array<std::byte, kMostSerial> serial = {};
  const auto text = std::as_bytes(std::span(setup_.serial));
  std::ranges::copy(text.first(std::min(text.size(), serial.size())), serial.begin());
  const size_t length = std::min(request.into.size(), serial.size());
  request.into.slice(0, length).copy_from(std::span(serial).first(length));
  return {.work = {}, .status = Status::kOk, .fills = length};
}

}  // namespace ashlar::vhost
