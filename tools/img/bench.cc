// img bench: how fast requests of one kind are, with so many in flight.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "ashlar/options.h"
#include "async/on_loop.h"
#include "async/sync.h"
#include "tools/common/aio_mode.h"
#include "tools/common/aligned_buffer.h"
#include "tools/common/image_arguments.h"
#include "tools/common/peer_text.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr uint64_t kMaxInt = std::numeric_limits<int32_t>::max();
/// Threads that send requests, at most.
constexpr unsigned kMaxLoops = 4;

constexpr OptionRow kCountRow{
    .name = "count", .letter = 'c', .value = "N", .help = "requests; default: 75000"};
constexpr OptionRow kDepthRow{
    .name = "depth", .letter = 'd', .value = "N", .help = "requests in flight; default: 64"};
constexpr OptionRow kSizeRow{
    .name = "buffer-size", .letter = 's', .value = "SIZE", .help = "of a request; default: 4096"};
constexpr OptionRow kStepRow{.name = "step-size",
                             .letter = 'S',
                             .value = "SIZE",
                             .help = "from one request to the next; default: its size"};
constexpr OptionRow kOffsetRow{
    .name = "offset", .letter = 'o', .value = "OFFSET", .help = "of the first request"};
constexpr OptionRow kWriteRow{.name = "write", .letter = 'w', .help = "write rather than read"};
constexpr OptionRow kPatternRow{
    .name = "pattern", .value = "BYTE", .help = "what is written; default: 0"};
constexpr OptionRow kFlushRow{
    .name = "flush-interval", .value = "N", .help = "with -w: flush after every N requests"};
constexpr OptionRow kNoDrainRow{.name = "no-drain",
                                .help = "do not wait for all requests before a flush"};
constexpr OptionRow kAioRow{.name = "aio",
                            .letter = 'i',
                            .value = "MODE",
                            .help = "how files are reached: threads, native or io_uring"};
constexpr OptionRow kNativeRow{.name = "native", .letter = 'n', .help = "-i native"};
constexpr OptionRow kCacheRow{
    .name = "cache", .letter = 't', .value = "MODE", .help = "cache mode; default: writeback"};
constexpr OptionRow kRows[] = {kCountRow,  kDepthRow,      kSizeRow,     kStepRow,      kOffsetRow,
                               kWriteRow,  kPatternRow,    kFlushRow,    kNoDrainRow,   kAioRow,
                               kNativeRow, kCacheRow,      kFormatRow,   kImageOptsRow, kQuietRow,
                               kObjectRow, kForceShareRow, kUntrustedRow};

/// What is to be measured.
struct BenchShape {
  uint64_t count = 75000;
  uint64_t depth = 64;
  uint64_t size = 4096;
  uint64_t step = 0;
  uint64_t offset = 0;
  enum class Kind : uint8_t { kRead, kWrite } kind = Kind::kRead;
  std::byte pattern{};
  uint64_t flush_interval = 0;  ///< 0: never
  enum class Drain : uint8_t { kYes, kNo } drain = Drain::kYes;

  bool writes() const { return kind == Kind::kWrite; }
  /// Where the request with that number goes, in a device of `device` bytes.
  ByteRange request(uint64_t number, uint64_t device) const {
    const uint64_t at = offset + number * step;
    return {number == 0 || device == 0 ? at : at % device, size};
  }
};

/// The run: what all loops share.
class Bench {
 public:
  Bench(Backend& image, const BenchShape& shape) : image_(image), shape_(shape) {
    device_ = image.size().value_or(0);
  }

  /// From the control loop.
  Task<void> run();
  /// The first error, after run().
  const std::optional<Error>& error() const { return error_; }

 private:
  /// Requests of one loop; its workers take them from here.
  struct Share {
    uint64_t next = 0;
    uint64_t end = 0;
  };
  /// Numbers are handed out in small blocks: loops do not fight for every one.
  static constexpr uint64_t kBlock = 32;

  Task<void> run_on(Loop& loop, unsigned workers);
  Task<void> run_here(unsigned workers);
  Task<void> work(Share& share, std::span<std::byte> buffer);
  Task<void> run_with_flushes();
  Task<void> send(uint64_t number, std::span<std::byte> buffer);
  Task<void> send_counted(uint64_t number, std::span<std::byte> buffer, Semaphore& permits);
  Task<void> flush();
  Task<void> flush_counted(Semaphore& permits);
  bool take(Share& share);
  Task<Result<void>> request(uint64_t number, std::span<std::byte> buffer) {
    const ByteRange range = shape_.request(number, device_);
    if (!shape_.writes()) return image_.read(range, MutableBuffers(buffer));
    return image_.write(range, MutableBuffers(buffer), {});
  }
  std::optional<AlignedBuffer> buffers(size_t count);
  std::span<std::byte> buffer(const AlignedBuffer& all, size_t index) const {
    return all.bytes().subspan(index * stride(), shape_.size);
  }
  size_t stride() const { return align_up(shape_.size, AlignedBuffer::kAlignment); }
  void note(const Error& error);

  Backend& image_;
  const BenchShape shape_;
  uint64_t device_ = 0;
  std::atomic<uint64_t> taken_{0};
  std::atomic<bool> failed_{false};
  std::mutex error_lock_;
  std::optional<Error> error_;
};

void Bench::note(const Error& error) {
  failed_.store(true, std::memory_order_relaxed);
  const std::lock_guard lock(error_lock_);
  if (!error_) error_ = error;
}

std::optional<AlignedBuffer> Bench::buffers(size_t count) {
  if (stride() != 0 && count > SIZE_MAX / stride()) return std::nullopt;
  auto all = AlignedBuffer::allocate(count * stride());
  if (all) std::memset(all->bytes().data(), static_cast<int>(shape_.pattern), all->size());
  if (!all) note(Error(ErrorCode::kNoMemory, "no memory for the requests"));
  return all;
}

bool Bench::take(Share& share) {
  if (share.next != share.end) return true;
  if (failed_.load(std::memory_order_relaxed)) return false;
  share.next = std::min(taken_.fetch_add(kBlock, std::memory_order_relaxed), shape_.count);
  share.end = std::min(share.next + kBlock, shape_.count);
  return share.next != share.end;
}

Task<void> Bench::work(Share& share, std::span<std::byte> buffer) {
  // A request that is served at once does not suspend. The others get their turn all the same.
  constexpr unsigned kInARow = 16;
  for (unsigned row = 1; take(share); ++row) {
    const Result<void> done = co_await request(share.next++, buffer);
    if (!done) {
      note(done.error());
      co_return;
    }
    if (row % kInARow == 0) co_await yield();
  }
}

Task<void> Bench::run_here(unsigned workers) {
  const std::optional<AlignedBuffer> memory = buffers(workers);
  if (!memory) co_return;
  Share share;
  Scope all;
  for (unsigned at = 0; at < workers; ++at) all.spawn(work(share, buffer(*memory, at)));
  co_await all.join();
}

Task<void> Bench::run_on(Loop& loop, unsigned workers) {
  OnLoop<void> there(loop, run_here(workers));
  co_await there;
}

Task<void> Bench::run() {
  if (shape_.flush_interval != 0) {
    co_await run_with_flushes();
    co_return;
  }
  Runtime& runtime = Loop::current().runtime();
  const auto depth = static_cast<unsigned>(std::min(shape_.depth, shape_.count));
  const unsigned loops = std::max(runtime.loop_count() - 1, 1u);
  Scope all;
  for (unsigned at = 0; at < loops; ++at) {
    const unsigned workers = depth / loops + (at < depth % loops ? 1 : 0);
    Loop& loop = runtime.loop(runtime.loop_count() == 1 ? 0 : at + 1);
    if (workers != 0) all.spawn(run_on(loop, workers));
  }
  co_await all.join();
}

Task<void> Bench::send(uint64_t number, std::span<std::byte> buffer) {
  const Result<void> done = co_await request(number, buffer);
  if (!done) note(done.error());
}

Task<void> Bench::send_counted(uint64_t number, std::span<std::byte> buffer, Semaphore& permits) {
  co_await send(number, buffer);
  permits.release();
}

Task<void> Bench::flush() {
  const Result<void> done = co_await image_.flush();
  if (!done) note(done.error());
}

Task<void> Bench::flush_counted(Semaphore& permits) {
  co_await flush();
  permits.release();
}

/// One loop: which requests come before which flush has to be clear.
Task<void> Bench::run_with_flushes() {
  // Requests only read their buffers: they can share one.
  const std::optional<AlignedBuffer> memory = buffers(1);
  if (!memory) co_return;
  Semaphore permits(shape_.depth);
  Scope in_flight;
  for (uint64_t number = 0; number < shape_.count && !failed_.load(); ++number) {
    co_await permits.acquire();
    in_flight.spawn(send_counted(number, buffer(*memory, 0), permits));
    if ((number + 1) % shape_.flush_interval != 0) continue;
    if (shape_.drain == BenchShape::Drain::kYes) {
      co_await in_flight.join();
      co_await flush();
    } else {
      co_await permits.acquire();
      in_flight.spawn(flush_counted(permits));
    }
  }
  co_await in_flight.join();
}

/// Reads the numbers; complains.
class ShapeReader {
 public:
  ShapeReader(const Program& program, const Arguments& arguments)
      : program_(program), arguments_(arguments) {}

  std::optional<BenchShape> read() {
    using Drain = BenchShape::Drain;
    if (arguments_.has(kWriteRow.name)) shape_.kind = BenchShape::Kind::kWrite;
    if (arguments_.has(kNoDrainRow.name)) shape_.drain = Drain::kNo;
    uint64_t pattern = 0;
    const bool good = count(kCountRow, "request count", shape_.count) &&
                      count(kDepthRow, "queue depth", shape_.depth) && check_depth() &&
                      count(kFlushRow, "flush interval", shape_.flush_interval) &&
                      count(kPatternRow, "pattern byte", pattern, 0xff) &&
                      size(kSizeRow, "buffer size", shape_.size) &&
                      size(kStepRow, "step_size", shape_.step) &&
                      size(kOffsetRow, "offset", shape_.offset, kMaxDeviceSize) && check_flush();
    shape_.pattern = static_cast<std::byte>(pattern);
    if (shape_.step == 0) shape_.step = shape_.size;
    return good ? std::optional(shape_) : std::nullopt;
  }

 private:
  bool complain(std::string_view text) const {
    program_.error(text);
    return false;
  }

  bool count(const OptionRow& row, std::string_view what, uint64_t& into,
             uint64_t most = kMaxInt) const {
    const auto text = arguments_.value(row.name);
    if (!text) return true;
    const Result<uint64_t> number = parse_number(*text);
    if (!number || *number > most) return complain(fmt::format("Invalid {} specified", what));
    into = *number;
    return true;
  }

  bool size(const OptionRow& row, std::string_view what, uint64_t& into,
            uint64_t most = kMaxInt) const {
    const auto text = arguments_.value(row.name);
    if (!text) return true;
    const Result<uint64_t> bytes = parse_size(*text);
    if (bytes && *bytes <= most) {
      into = *bytes;
      return true;
    }
    const bool out_of_range = bytes || bytes.error().reason() == "size-range";
    return complain(out_of_range
                        ? fmt::format("Invalid {} specified. Must be between 0 and {}.", what, most)
                        : fmt::format("Invalid {} specified: '{}'", what, *text));
  }

  bool check_depth() const {
    return shape_.depth != 0 || complain("Invalid queue depth specified");
  }

  bool check_flush() const {
    if (shape_.flush_interval == 0) return true;
    if (!shape_.writes()) return complain("--flush-interval is only available in write tests");
    if (shape_.flush_interval < shape_.depth) {
      return complain("Flush interval can't be smaller than depth");
    }
    return true;
  }

  const Program& program_;
  const Arguments& arguments_;
  BenchShape shape_;
};

void announce(Output& out, const BenchShape& shape) {
  out.write(fmt::format(
      "Sending {} {} requests, {} bytes each, {} in parallel (starting at offset {}, step size "
      "{})\n",
      shape.count, shape.writes() ? "write" : "read", shape.size, shape.depth, shape.offset,
      shape.step));
  if (shape.flush_interval == 0) return;
  const bool drains = shape.drain == BenchShape::Drain::kYes;
  out.write(fmt::format("Sending {}flush every {} requests\n", drains ? "" : "un-drained ",
                        shape.flush_interval));
}

/// The mode that -i or -n choose; complains about others.
struct AioChoice {
  AioMode mode = AioMode::kIoUring;
  bool valid = true;
};
AioChoice aio_choice(const Program& program, const Arguments& arguments) {
  AioChoice choice;
  if (arguments.has(kNativeRow.name)) choice.mode = AioMode::kNative;
  if (const auto name = arguments.value(kAioRow.name)) {
    const std::optional<AioMode> mode = parse_aio_mode(*name);
    choice.valid = mode.has_value();
    choice.mode = mode.value_or(choice.mode);
    if (!mode) program.error(fmt::format("Invalid aio option: {}", *name));
  }
  return choice;
}

std::optional<ImageRequest> bench_request(Program& program, const Arguments& arguments,
                                          const BenchShape& shape) {
  auto request = image_request(program, arguments, arguments.operands()[0]);
  if (!request) return std::nullopt;
  request->flags.read_only = !shape.writes();
  const auto mode = arguments.value(kCacheRow.name);
  if (!mode) return request;
  const auto cache = parse_cache_mode(*mode);
  if (!cache) {
    program.error("Invalid cache mode");
    return std::nullopt;
  }
  cache->apply_to(request->flags);
  request->write_cache = cache->write_cache;
  return request;
}

Task<void> run_bench(Bench& bench) { co_await bench.run(); }

int measure(Session& session, Backend& image, const Arguments& arguments, const BenchShape& shape) {
  Output& out = session.program().out();
  if (!arguments.has(kQuietRow.name)) announce(out, shape);
  Bench bench(image, shape);
  const auto start = std::chrono::steady_clock::now();
  session.wait(run_bench(bench));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (bench.error()) {
    session.program().error(fmt::format("Failed request: {}", peer_errno_text(*bench.error())));
    return kFailure;
  }
  out.write(fmt::format("Run completed in {:.3f} seconds.\n", took.count()));
  return kSuccess;
}

int run(Program& program, const Arguments& arguments) {
  const auto shape = ShapeReader(program, arguments).read();
  if (!shape) return kFailure;
  const AioChoice aio = aio_choice(program, arguments);
  if (!aio.valid || !check_operands(program, arguments, {1, 1}, "Expecting one image file name")) {
    return kFailure;
  }
  const auto request = bench_request(program, arguments, *shape);
  if (!request) return kFailure;
  if (const auto problem = aio_mode_problem(aio.mode, request->flags); !problem.empty()) {
    complain_of_open(program, request->name,
                     Error(ErrorCode::kInvalidArgument, std::string(problem)));
    return kFailure;
  }
  RuntimeOptions runtime;
  runtime.files = file_backend(aio.mode);
  runtime.io_loops = std::min(std::thread::hardware_concurrency(), kMaxLoops);
  const StartedSession started = start_session(program, arguments, runtime);
  if (!started.session) return started.status;
  const Permissions read = Permission::kConsistentRead;
  const BackendRef image =
      open_backend(*started.session, *request, shape->writes() ? read | Permission::kWrite : read);
  if (!image) return kFailure;
  return measure(*started.session, *image, arguments, *shape);
}

}  // namespace

constinit const Command kBenchCommand{.name = "bench",
                                      .operands = "FILE",
                                      .summary = "measure how fast requests are",
                                      .options = kRows,
                                      .run = run};

}  // namespace ashlar::tools
