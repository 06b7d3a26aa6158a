// img compare: whether two images have the same contents.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "async/on_loop.h"
#include "async/sync.h"
#include "base/zero_scan.h"
#include "tools/common/aligned_buffer.h"
#include "tools/common/image_arguments.h"
#include "tools/common/peer_text.h"
#include "tools/common/progress.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr int kIdentical = 0;
constexpr int kDifferent = 1;
constexpr int kCannotOpen = 2;
constexpr int kStatusFailed = 3;
constexpr int kReadFailed = 4;

constexpr unsigned kMaxLoops = 4;
constexpr unsigned kWorkersPerLoop = 3;
constexpr uint64_t kPiece = 256_KiB;  // two of them stay in the second-level cache
constexpr uint64_t kStep = 1_GiB;     // the most that is passed over at once
constexpr uint64_t kSector = 512;

constexpr OptionRow kFirstFormatRow{
    .name = "a-format", .letter = 'f', .value = "FMT", .help = "format of A; default: probe"};
constexpr OptionRow kSecondFormatRow{
    .name = "b-format", .letter = 'F', .value = "FMT", .help = "format of B; default: probe"};
constexpr OptionRow kStrictRow{
    .name = "strict", .letter = 's', .help = "sizes and what is allocated must be the same, too"};
constexpr OptionRow kCacheRow{
    .name = "cache", .letter = 'T', .value = "MODE", .help = "cache mode; default: writeback"};
constexpr OptionRow kRows[] = {kFirstFormatRow, kSecondFormatRow, kImageOptsRow, kStrictRow,
                               kCacheRow,       kForceShareRow,   kProgressRow,  kQuietRow,
                               kObjectRow,      kUntrustedRow};

/// One of the two images.
struct Side {
  std::string name;
  BackendRef image;
  uint64_t size = 0;
};

/// How the comparison ended: the earliest place that decided it.
struct Verdict {
  enum class Kind : uint8_t { kContents, kStatus, kStatusError, kReadError } kind = Kind::kContents;
  uint64_t offset = 0;
  const Side* side = nullptr;  ///< of an error
  std::optional<Error> error{};
};

/// What one image says of the bytes from the walk's position to `end`.
struct Known {
  Extent extent;
  uint64_t end = 0;
};

/// The comparison. Workers on all I/O loops take pieces from one walk over both images.
class Comparison {
 public:
  enum class Mode : uint8_t { kContents, kStrict };
  Comparison(const Side& a, const Side& b, Mode mode)
      : sides_{&a, &b},
        mode_(mode),
        common_(std::min(a.size, b.size)),
        total_(std::max(a.size, b.size)) {}

  void on_progress(std::function<void(uint64_t, uint64_t)> report) { report_ = std::move(report); }
  /// From the control loop.
  Task<void> run();
  const std::optional<Verdict>& verdict() const { return verdict_; }
  void stop() { stopped_ = true; }

 private:
  /// What a worker compares: both images, or one with zeroes.
  struct Piece {
    ByteRange range;
    const Side* a = nullptr;
    const Side* b = nullptr;  ///< null: zeroes
  };

  Task<void> run_on(Loop& loop);
  Task<void> run_here();
  Task<void> work();
  Task<std::optional<Piece>> next();
  Task<std::optional<Piece>> cut();
  Task<bool> look();
  Task<void> compare(const Piece& piece, std::span<std::byte> first, std::span<std::byte> second);
  Task<bool> read(const Side& side, ByteRange range, std::span<std::byte> into);
  Known nothing_past_the_end() const;
  void note(const Verdict& verdict);

  const std::array<const Side*, 2> sides_;
  const Mode mode_;
  const uint64_t common_;
  const uint64_t total_;
  std::function<void(uint64_t, uint64_t)> report_;
  std::atomic<bool> stopped_{false};

  Mutex lock_;  // what follows
  uint64_t position_ = 0;
  std::array<Known, 2> known_;

  std::mutex verdict_lock_;
  std::optional<Verdict> verdict_;
};

void Comparison::note(const Verdict& verdict) {
  stop();
  const std::lock_guard lock(verdict_lock_);
  if (!verdict_ || verdict.offset < verdict_->offset) verdict_ = verdict;
}

Task<void> Comparison::run() {
  Runtime& runtime = Loop::current().runtime();
  Scope all;
  if (runtime.loop_count() == 1) all.spawn(run_on(runtime.loop(0)));
  for (unsigned at = 1; at < runtime.loop_count(); ++at) all.spawn(run_on(runtime.loop(at)));
  co_await all.join();
}

Task<void> Comparison::run_on(Loop& loop) {
  OnLoop<void> there(loop, run_here());
  co_await there;
}

Task<void> Comparison::run_here() {
  Scope all;
  for (unsigned at = 0; at < kWorkersPerLoop; ++at) all.spawn(work());
  co_await all.join();
}

Task<void> Comparison::work() {
  const auto first = AlignedBuffer::allocate(kPiece);
  const auto second = AlignedBuffer::allocate(kPiece);
  if (!first || !second) {
    note({.kind = Verdict::Kind::kReadError,
          .offset = 0,
          .side = sides_[0],
          .error = Error(ErrorCode::kNoMemory, "no memory for buffers")});
    co_return;
  }
  while (true) {
    const std::optional<Piece> piece = co_await next();
    if (!piece) co_return;
    co_await compare(*piece, first->bytes(), second->bytes());
  }
}

Task<std::optional<Comparison::Piece>> Comparison::next() {
  const Mutex::Guard guard = co_await lock_.lock();
  co_return co_await cut();
}

/// The walk: passes over what both images say is zero.
Task<std::optional<Comparison::Piece>> Comparison::cut() {
  while (position_ < total_ && !stopped_) {
    const bool looked = co_await look();
    if (!looked) break;
    const Extent& a = known_[0].extent;
    const Extent& b = known_[1].extent;
    const bool in_both = position_ < common_;
    if (mode_ == Mode::kStrict && in_both &&
        (a.present != b.present || a.zero != b.zero || a.data != b.data)) {
      note({.kind = Verdict::Kind::kStatus, .offset = position_});
      break;
    }
    const uint64_t end = std::min(known_[0].end, known_[1].end);
    const bool passed_over = a.zero && b.zero;
    const uint64_t length = std::min(end - position_, passed_over ? kStep : kPiece);
    const ByteRange range{position_, length};
    position_ += length;
    if (report_) report_(position_, total_);
    if (passed_over) continue;
    Piece piece{.range = range, .a = sides_[0], .b = sides_[1]};
    if (a.zero) piece = {.range = range, .a = sides_[1], .b = nullptr};
    if (b.zero) piece = {.range = range, .a = sides_[0], .b = nullptr};
    co_return piece;
  }
  co_return std::nullopt;
}

/// What the shorter image is taken to hold past its end.
Known Comparison::nothing_past_the_end() const {
  Known zeroes;
  zeroes.extent.zero = true;
  zeroes.end = total_;
  return zeroes;
}

/// Makes both images' status known at the position. False when that fails.
Task<bool> Comparison::look() {
  for (size_t at = 0; at < sides_.size(); ++at) {
    Known& known = known_[at];
    const Side& side = *sides_[at];
    if (known.end > position_) continue;
    if (position_ >= side.size) {
      known = nothing_past_the_end();
      continue;
    }
    const ByteRange rest{position_, side.size - position_};
    const Result<Extent> extent = co_await side.image->status(rest);
    if (!extent || extent->length == 0) {
      const Error reason =
          extent ? Error(ErrorCode::kIo, "block status made no progress") : extent.error();
      note({.kind = Verdict::Kind::kStatusError,
            .offset = position_,
            .side = &side,
            .error = reason});
      co_return false;
    }
    known = {.extent = *extent, .end = position_ + std::min(extent->length, rest.length)};
  }
  co_return true;
}

Task<bool> Comparison::read(const Side& side, ByteRange range, std::span<std::byte> into) {
  const Result<void> done = co_await side.image->read(range, MutableBuffers(into));
  if (done) co_return true;
  note({.kind = Verdict::Kind::kReadError,
        .offset = range.offset,
        .side = &side,
        .error = done.error()});
  co_return false;
}

/// The first byte that differs; the size when none does.
size_t first_difference(std::span<const std::byte> a, std::span<const std::byte> b) {
  if (std::memcmp(a.data(), b.data(), a.size()) == 0) return a.size();
  return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}
size_t first_nonzero(std::span<const std::byte> a) {
  if (is_zero(a)) return a.size();
  return static_cast<size_t>(std::ranges::find_if(a, [](std::byte b) { return b != std::byte{}; }) -
                             a.begin());
}

Task<void> Comparison::compare(const Piece& piece, std::span<std::byte> first,
                               std::span<std::byte> second) {
  const ByteRange range = piece.range;
  first = first.first(range.length);
  bool good = co_await read(*piece.a, range, first);
  if (!good) co_return;
  size_t same = 0;
  if (piece.b == nullptr) {
    same = first_nonzero(first);
  } else {
    second = second.first(range.length);
    good = co_await read(*piece.b, range, second);
    if (!good) co_return;
    same = first_difference(first, second);
  }
  if (same == range.length) co_return;
  note({.kind = Verdict::Kind::kContents, .offset = align_down(range.offset + same, kSector)});
}

/// What is printed, and the exit status.
class ComparisonReport {
 public:
  ComparisonReport(Program& program, bool quiet) : program_(program), quiet_(quiet) {}

  void say(std::string_view line) {
    if (!quiet_) program_.out().write(fmt::format("{}\n", line));
  }

  int conclude(const std::optional<Verdict>& verdict, uint64_t common, uint64_t total) {
    const bool into_tail = !verdict || verdict->offset >= common;
    if (common != total && into_tail) say("Warning: Image size mismatch!");
    if (!verdict) {
      say("Images are identical.");
      return kIdentical;
    }
    return tell(*verdict);
  }

 private:
  int tell(const Verdict& verdict) {
    switch (verdict.kind) {
      case Verdict::Kind::kContents:
        say(fmt::format("Content mismatch at offset {}!", verdict.offset));
        return kDifferent;
      case Verdict::Kind::kStatus:
        say(fmt::format("Strict mode: Offset {} block status mismatch!", verdict.offset));
        return kDifferent;
      case Verdict::Kind::kStatusError:
        program_.error(fmt::format("Sector allocation test failed for {}: {}", verdict.side->name,
                                   peer_errno_text(*verdict.error)));
        return kStatusFailed;
      case Verdict::Kind::kReadError:
        program_.error(fmt::format("Error while reading offset {} of {}: {}", verdict.offset,
                                   verdict.side->name, peer_errno_text(*verdict.error)));
        return kReadFailed;
    }
    return kReadFailed;
  }

  Program& program_;
  const bool quiet_;
};

/// Opens the `index`-th image. Complains.
std::optional<Side> open_side(Session& session, const Arguments& arguments, size_t index) {
  ImageRequest request;
  request.name = arguments.operands()[index];
  request.flags.read_only = true;
  request.flags.force_share = arguments.has(kForceShareRow.name);
  const OptionRow& row = index == 0 ? kFirstFormatRow : kSecondFormatRow;
  if (const auto format = arguments.value(row.name)) request.format = std::string(*format);
  if (arguments.has(kImageOptsRow.name)) request.syntax = ImageRequest::Syntax::kOptions;
  const auto cache = arguments.value(kCacheRow.name).value_or("writeback");
  if (!set_cache_mode(session.program(), request, cache, "source cache")) return std::nullopt;
  Side side{.name = request.name, .image = {}, .size = 0};
  side.image = open_backend(session, request, Permission::kConsistentRead);
  if (!side.image) return std::nullopt;
  const Result<uint64_t> size = side.image->size();
  if (!size) {
    session.program().error(
        fmt::format("Can't get size of {}: {}", side.name, peer_errno_text(size.error())));
    return std::nullopt;
  }
  side.size = *size;
  return side;
}

Task<void> run_comparison(Comparison& comparison) { co_await comparison.run(); }

int compare_sides(Session& session, Progress& progress, const Arguments& arguments) {
  const auto a = open_side(session, arguments, 0);
  if (!a) return kCannotOpen;
  const auto b = open_side(session, arguments, 1);
  if (!b) return kCannotOpen;
  ComparisonReport report(session.program(), arguments.has(kQuietRow.name));
  const bool strict = arguments.has(kStrictRow.name);
  if (strict && a->size != b->size) {
    report.say("Strict mode: Image size mismatch!");
    return kDifferent;
  }
  Comparison comparison(*a, *b, strict ? Comparison::Mode::kStrict : Comparison::Mode::kContents);
  const SignalWatcher& signals = progress.signals();
  comparison.on_progress([&](uint64_t done, uint64_t total) {
    progress.update(done, total);
    if (signals.stopping()) comparison.stop();
  });
  session.wait(run_comparison(comparison));
  if (signals.stopping()) return signals.exit_status();
  if (!comparison.verdict()) progress.finish();
  return report.conclude(comparison.verdict(), std::min(a->size, b->size),
                         std::max(a->size, b->size));
}

int run(Program& program, const Arguments& arguments) {
  if (!check_operands(program, arguments, {2, 2}, "Expecting two image file names")) {
    return kFailure;
  }
  const bool has_format =
      arguments.has(kFirstFormatRow.name) || arguments.has(kSecondFormatRow.name);
  if (arguments.has(kImageOptsRow.name) && has_format) {
    program.error("--image-opts and --format are mutually exclusive");
    return kCannotOpen;
  }
  Progress::Mode mode = Progress::Mode::kOnSignal;
  if (arguments.has(kProgressRow.name)) mode = Progress::Mode::kShown;
  if (arguments.has(kQuietRow.name)) mode = Progress::Mode::kNever;
  Progress progress(program, mode);
  RuntimeOptions runtime;
  runtime.io_loops = std::min(std::thread::hardware_concurrency(), kMaxLoops);
  const StartedSession started = start_session(program, arguments, runtime);
  if (!started.session) return started.status;
  return compare_sides(*started.session, progress, arguments);
}

}  // namespace

constinit const Command kCompareCommand{.name = "compare",
                                        .operands = "A B",
                                        .summary = "tell whether two images hold the same",
                                        .options = kRows,
                                        .run = run};

}  // namespace ashlar::tools
