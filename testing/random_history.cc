// Random histories: choosing requests, keeping them in flight, comparing.
#include "testing/random_history.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "async/on_loop.h"
#include "testing/history_model.h"
#include "testing/qcow2_builder.h"

namespace ashlar {

namespace {

using Kind = BlockOperation::Kind;

std::vector<std::byte> random_bytes(SeededRandom& random, uint64_t size) {
  std::vector<std::byte> bytes(size);
  random.fill(bytes);
  return bytes;
}

/// The units that a request touches.
ByteRange units_of(ByteRange range) {
  const uint64_t begin = align_down(range.offset, FlatModel::kUnit);
  return {begin, align_up(range.end(), FlatModel::kUnit) - begin};
}

Qcow2Shape random_shape(SeededRandom& random) {
  Qcow2Shape shape;
  constexpr uint32_t kClusterBits[] = {9, 9, 9, 10, 12, 12, 14, 16};
  shape.cluster_bits = kClusterBits[random.below(8)];
  shape.refcount_order = static_cast<uint32_t>(random.below(7));
  if (random.one_in(5)) {
    shape.version = 2;
    shape.refcount_order = 4;
  } else if (random.one_in(3)) {
    shape.entries = Qcow2Shape::Entries::kExtended;
    shape.cluster_bits = std::max(shape.cluster_bits, 14u);
  }
  if (shape.version == 3 && random.one_in(6)) {
    shape.data = random.one_in(2) ? Qcow2Shape::Data::kExternal : Qcow2Shape::Data::kRawExternal;
  }
  if (shape.data != Qcow2Shape::Data::kRawExternal && random.one_in(3)) {
    shape.backing = Qcow2Shape::Backing::kNamed;
  }
  shape.size = random.between(1, random.one_in(4) ? 8000 : 300) * shape.cluster_size();
  shape.size = std::min<uint64_t>(shape.size, random.one_in(8) ? 4_MiB : 1_MiB);
  if (random.one_in(2)) shape.size += random.below(shape.cluster_size() / 512) * 512;
  return shape;
}

/// A few kinds at a time meet each other more often than all of them do.
std::vector<Kind> random_kinds(SeededRandom& random, const Qcow2Shape& shape) {
  constexpr Kind kAll[] = {Kind::kRead,         Kind::kWrite,       Kind::kWrite,
                           Kind::kZero,         Kind::kZeroUnmap,   Kind::kDiscard,
                           Kind::kFlush,        Kind::kStatus,      Kind::kCompressed,
                           Kind::kWriteThrough, Kind::kZeroThrough, Kind::kFlush};
  const bool all = random.one_in(2);
  std::vector<Kind> kinds{Kind::kRead};
  for (Kind kind : kAll) {
    if (kind == Kind::kCompressed && shape.external()) continue;
    if (all || random.one_in(2)) kinds.push_back(kind);
  }
  return kinds;
}

}  // namespace

struct RandomHistory::InFlight {
  BlockOperation operation;
  FlatModel::ChangeId change = 0;
  unsigned loop = 0;
  std::vector<std::byte> memory{};
};

HistoryMix HistoryMix::from_seed(uint64_t seed) {
  SeededRandom random(seed);
  HistoryMix mix;
  mix.seed = seed;
  mix.shape = random_shape(random);
  if (mix.shape.backing == Qcow2Shape::Backing::kNamed) {
    mix.backing_size = random.between(1, mix.shape.size / 256 + 1) * 512;
  }
  mix.setup.seed = random.next();
  mix.setup.loops = random.one_in(2) ? 1 : 3;
  constexpr uint64_t kAlignments[] = {1, 1, 512, 4096};
  mix.setup.disk_alignment = kAlignments[random.below(4)];
  mix.setup.longest_ns = random.one_in(8) ? 0 : 50'000;
  mix.depth = static_cast<unsigned>(random.between(1, 8));
  mix.operations = static_cast<unsigned>(random.between(5, 60));
  constexpr uint64_t kGranules[] = {1, 512, 512, 4096};
  mix.granule = kGranules[random.below(4)];
  // What a part of a unit is written into must be known: no two may be in flight for the rest of
  // it.
  if (mix.granule % FlatModel::kUnit == 0 && random.one_in(2)) mix.sharing = Sharing::kUnits;
  mix.kinds = random_kinds(random, mix.shape);
  mix.prepared = static_cast<unsigned>(random.below(16));
  const bool may_share = mix.shape.refcount_order > 0 && !mix.shape.external();
  if (may_share && random.one_in(3)) mix.snapshot = Snapshot::kTaken;
  return mix;
}

std::string HistoryMix::describe() const {
  return fmt::format("seed {:#x}: {}; {} loops, {} in flight, blocks of {}, backing of {} bytes{}",
                     seed, shape.describe(), setup.loops, depth, setup.disk_alignment, backing_size,
                     snapshot == Snapshot::kTaken ? ", with a snapshot" : "");
}

ImageFiles HistoryMix::files() const {
  SeededRandom random(seed ^ 0x5eed);
  Qcow2Builder builder(shape);
  std::vector<uint64_t> used;
  const uint64_t clusters = (shape.size + shape.cluster_size() - 1) / shape.cluster_size();
  for (unsigned i = 0; i < prepared; ++i) {
    const uint64_t guest = random.below(std::min<uint64_t>(clusters, random.one_in(2) ? 12 : ~0u));
    const uint64_t kind = random.below(4);
    if (std::ranges::find(used, guest) != used.end()) continue;
    used.push_back(guest);
    const std::vector<std::byte> content = random_bytes(random, shape.cluster_size());
    if (kind == 1 && shape.version >= 3) {
      builder.add_zero(guest);
    } else if (kind == 2 && shape.version >= 3) {
      builder.add_zero_with_room(guest, content);
    } else if (kind == 3 && !shape.external()) {
      builder.add_compressed(guest, compressible_bytes(content.size(), random.next()));
    } else {
      builder.add_normal(guest, content);
    }
  }
  if (snapshot == Snapshot::kTaken) builder.take_snapshot();
  ImageFiles files{.image = builder.finish(), .backing = {}, .data_file = {}};
  if (shape.external()) files.data_file = builder.data_file();
  if (backing_size != 0) {
    files.backing.emplace(backing_size);
    files.backing->write(0, random_bytes(random, backing_size));
  }
  return files;
}

RandomHistory::RandomHistory(const HistoryMix& mix)
    : mix_(mix),
      files_(mix.files()),
      image_(mix.setup, files_),
      random_(~mix.seed),
      model_(mix.shape.size) {
  const Qcow2Audit start = image_.audit();
  if (!start.corruptions().empty() || start.leaks() != 0) wrong("built badly: " + start.describe());
  std::vector<std::byte> content(mix.shape.size);
  start.read(0, content, image_.beside());
  start_with(model_, content);
  if (!start.has_snapshot()) return;
  snapshot_before_.resize(mix.shape.size);
  start.read_snapshot(0, snapshot_before_, image_.beside());
}

RandomHistory::~RandomHistory() = default;

void RandomHistory::wrong(std::string what) {
  if (failure_.empty()) failure_ = std::move(what);
}

std::string RandomHistory::run() {
  if (failure_.empty()) {
    try {
      sync_wait(image_.runtime(), everything());
    } catch (const SimulationStuck& stuck) {
      wrong(stuck.what());
    }
  }
  if (failure_.empty()) return {};
  return fmt::format("{}\n  {}\n  {}", failure_, mix_.describe(), fmt::join(log_, "\n  "));
}

Task<void> RandomHistory::everything() {
  co_await open();
  if (failure_.empty()) co_await operations();
  co_await scope_.join();
  if (failure_.empty()) co_await compare_all();
  co_await close();
}

std::string RandomHistory::choose_options() {
  discards_ = !random_.one_in(3);
  std::string options = discards_ ? "discard=unmap" : "discard=ignore";
  if (random_.one_in(2)) options += ",l2-cache-size=1k";
  if (random_.one_in(2)) options += ",refcount-cache-size=1k";
  if (random_.one_in(6)) options += ",pass-discard-other=on";
  if (random_.one_in(6)) options += ",discard-no-unref=on";
  return options;
}

Task<void> RandomHistory::open() {
  const std::string options = choose_options();
  image_.set_format_options(options);
  log_.push_back("open with " + options);
  const Result<void> opened = co_await image_.open();
  if (!opened) wrong("open: " + opened.error().message());
}

Task<void> RandomHistory::close() {
  log_.emplace_back("close");
  const Result<void> closed = co_await image_.close();
  if (!closed) wrong("close: " + closed.error().message());
  if (failure_.empty()) check_closed();
}

void RandomHistory::check_closed() {
  const Qcow2Audit audit = image_.audit();
  if (!audit.corruptions().empty() || audit.leaks() != 0)
    return wrong("audit: " + audit.describe());
  if (audit.size() != model_.size()) return wrong(fmt::format("has {} bytes", audit.size()));
  std::vector<std::byte> content(audit.size());
  audit.read(0, content, image_.beside());
  if (const auto where = model_.mismatch(0, content)) {
    return wrong(fmt::format("the closed image differs at {:#x}", *where));
  }
  std::vector<std::byte> snapshot(snapshot_before_.size());
  if (snapshot.empty()) return;
  audit.read_snapshot(0, snapshot, image_.beside());
  if (snapshot != snapshot_before_) wrong("the snapshot has changed");
}

Task<void> RandomHistory::compare_all() {
  std::vector<std::byte> piece(64_KiB);
  for (uint64_t at = 0; at < model_.size(); at += piece.size()) {
    const ByteRange range{at, std::min<uint64_t>(piece.size(), model_.size() - at)};
    const std::span<std::byte> memory = std::span(piece).first(range.length);
    const Result<void> read = co_await image_.backend().read(range, MutableBuffers(memory));
    if (!read) co_return wrong("read: " + read.error().message());
    if (const auto where = model_.mismatch(at, memory)) {
      co_return wrong(fmt::format("the image differs at {:#x}", *where));
    }
  }
}

Task<void> RandomHistory::operations() {
  for (unsigned i = 0; i < mix_.operations && failure_.empty(); ++i) {
    if (random_.one_in(40)) {
      co_await scope_.join();
      co_await close();
      if (failure_.empty()) co_await open();
      continue;
    }
    if (random_.one_in(15) && may_resize()) {
      const uint64_t size = choose_size();
      co_await resize(size);
      continue;
    }
    co_await start_when_possible(choose());
  }
}

bool RandomHistory::may_resize() const {
  return mix_.shape.version >= 3 || mix_.snapshot == HistoryMix::Snapshot::kNone;
}

uint64_t RandomHistory::choose_size() {
  const uint64_t most = random_.one_in(10) ? 4_MiB : model_.size() + 4 * mix_.shape.cluster_size();
  const uint64_t unit = random_.one_in(2) ? 512 : mix_.shape.cluster_size();
  return std::max<uint64_t>(random_.below(most / unit + 1) * unit, 512);
}

/// Resizes while requests on what stays are in flight.
Task<void> RandomHistory::resize(uint64_t size) {
  // What ends at the end, the old or the new one, means something else where that is not the end.
  const auto beyond = [&](const InFlight& request) {
    const uint64_t end = request.operation.range.end();
    return end >= size || end == model_.size();
  };
  while (std::ranges::any_of(in_flight_, beyond)) co_await finished_.acquire();
  const BlockOperation operation{Kind::kResize, {size, 0}, 0};
  log_.push_back(operation.describe());
  const Result<void> done = co_await perform(image_.backend(), operation, {});
  if (!done) co_return wrong(operation.describe() + ": " + done.error().message());
  model_.resize(size);
}

BlockOperation RandomHistory::choose() {
  BlockOperation operation;
  operation.kind = mix_.kinds[random_.below(mix_.kinds.size())];
  operation.content = random_.next();
  if (operation.kind != Kind::kFlush) operation.range = choose_range(operation.kind);
  return operation;
}

ByteRange RandomHistory::choose_range(Kind kind) {
  const uint64_t cluster = mix_.shape.cluster_size();
  const uint64_t size = model_.size();
  uint64_t unit = kind == Kind::kDiscard ? std::max<uint64_t>(mix_.granule, 512) : mix_.granule;
  if (kind == Kind::kCompressed || random_.one_in(3)) unit = cluster;
  // Most of it happens in a few clusters.
  const uint64_t area = random_.one_in(4) ? size : std::min(size, 8 * cluster);
  const uint64_t begin = align_down(random_.below(area), unit);
  uint64_t length = random_.between(1, std::max<uint64_t>(3 * cluster / unit, 1)) * unit;
  if (random_.one_in(2)) length = std::min(length, unit);
  return {begin, std::min(length, size - begin)};
}

bool RandomHistory::conflicts(const BlockOperation& operation) const {
  if (!operation.changes() && operation.kind != Kind::kRead) return false;
  const ByteRange units = units_of(operation.range);
  for (const InFlight& request : in_flight_) {
    const BlockOperation& other = request.operation;
    if (!other.changes() && other.kind != Kind::kRead) continue;
    const ByteRange others = units_of(other.range);
    if (!units.overlaps(others)) continue;
    if (operation.kind == Kind::kRead && other.kind == Kind::kRead) continue;
    const bool whole = units == operation.range && others == other.range;
    const bool both_change = operation.changes() && other.changes();
    if (mix_.sharing == HistoryMix::Sharing::kUnits && whole && both_change) continue;
    return true;
  }
  return false;
}

Task<void> RandomHistory::start_when_possible(BlockOperation operation) {
  while (in_flight_.size() >= mix_.depth || conflicts(operation)) co_await finished_.acquire();
  InFlight& request = in_flight_.emplace_back(InFlight{operation});
  request.loop = static_cast<unsigned>(random_.below(mix_.setup.loops));
  log_.push_back(fmt::format("{} (loop {})", operation.describe(), request.loop));
  if (operation.kind == Kind::kRead) request.memory.resize(operation.range.length);
  if (operation.writes_bytes()) {
    request.change = model_.begin_write(operation.range, operation.bytes());
  } else if (operation.zeroes()) {
    request.change = model_.begin_zero(operation.range);
  } else if (operation.kind == Kind::kDiscard) {
    const ByteRange whole = discarded_part(mix_.shape, operation.range, model_.size());
    request.change = model_.begin_zero(discards_ ? whole : ByteRange{});
  } else if (operation.kind == Kind::kFlush) {
    request.change = model_.begin_flush();
  }
  scope_.spawn(carry_out(request));
}

Task<void> RandomHistory::carry_out(InFlight& request) {
  OnLoop<Result<void>> there(image_.runtime().loop(request.loop),
                             perform(image_.backend(), request.operation, request.memory));
  const Result<void> result = co_await there;
  finish(request, result);
  std::erase_if(in_flight_, [&](const InFlight& other) { return &other == &request; });
  finished_.release();
}

void RandomHistory::finish(const InFlight& request, const Result<void>& result) {
  if (!result) {
    return wrong(request.operation.describe() + ": " + result.error().message());
  }
  if (request.change != 0) model_.finish(request.change);
  if (request.operation.kind != Kind::kRead) return;
  if (const auto where = model_.mismatch(request.operation.range.offset, request.memory)) {
    wrong(fmt::format("{} is wrong at {:#x}", request.operation.describe(), *where));
  }
}

}  // namespace ashlar
