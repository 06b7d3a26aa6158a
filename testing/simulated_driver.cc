// The simulated storage driver: delays in front of a simulated disk.
#include "testing/simulated_driver.h"

#include <fmt/format.h>

#include <array>

#include "ashlar/loop.h"
#include "base/checked.h"
#include "testing/simulated_runtime.h"

namespace ashlar {

NodeInfo SimulatedDriver::info() const {
  return {.size = disk_->size(),
          .request_alignment = static_cast<uint32_t>(settings_.request_alignment),
          .fua = NodeInfo::Fua::kNative,
          .zeroes = NodeInfo::Zeroes::kNative,
          .discards = NodeInfo::Discards::kNative,
          .end = NodeInfo::End::kGrows,
          .fresh = NodeInfo::Fresh::kZeroes};
}

Task<void> SimulatedDriver::pause() const {
  if (settings_.longest_ns == 0) co_return;
  const uint64_t random = Loop::current().random();
  // Now and then one takes so long that many others begin and end meanwhile.
  const uint64_t times = random >> 60 == 0 ? 50 : 1;
  co_await sleep_for(1 + random % settings_.longest_ns * times);
}

Task<Result<void>> SimulatedDriver::finish_later(SimulatedDisk::RequestId id) {
  co_await pause();
  co_return disk_->finish(id);
}

Task<Result<void>> SimulatedDriver::read(ByteRange range, MutableBuffers into) {
  co_await pause();
  // As with real disks behind a file: the rest of the unit in which the file ends reads as zeroes.
  const uint64_t end = align_up(disk_->size(), settings_.request_alignment);
  if (range.end() > disk_->size() && range.end() <= end && range.offset < disk_->size()) {
    const ByteRange inside = range.first(disk_->size() - range.offset);
    into.from(inside.length).fill(std::byte{0});
    co_return disk_->read(inside, into.slice(0, inside.length));
  }
  co_return disk_->read(range, into);
}

Task<Result<void>> SimulatedDriver::write(ByteRange range, ConstBuffers from, WriteFlags flags) {
  const auto durable =
      flags.fua ? SimulatedDisk::Durable::kWhenFinished : SimulatedDisk::Durable::kAfterFlush;
  const SimulatedDisk::RequestId id = disk_->begin_write(range, from, durable);
  co_return co_await finish_later(id);
}

Task<Result<void>> SimulatedDriver::write_zeroes(ByteRange range, ZeroFlags flags) {
  const auto durable =
      flags.fua ? SimulatedDisk::Durable::kWhenFinished : SimulatedDisk::Durable::kAfterFlush;
  const SimulatedDisk::RequestId id = disk_->begin_zero(range, durable);
  co_return co_await finish_later(id);
}

Task<Result<void>> SimulatedDriver::discard(ByteRange range) {
  const SimulatedDisk::RequestId id = disk_->begin_discard(range);
  co_return co_await finish_later(id);
}

Task<Result<void>> SimulatedDriver::flush() {
  const SimulatedDisk::RequestId id = disk_->begin_flush();
  co_return co_await finish_later(id);
}

Task<Result<void>> SimulatedDriver::resize(uint64_t size, ResizeFlags) {
  // Room is never scarce here, so that every preallocation is the same.
  const SimulatedDisk::RequestId id = disk_->begin_resize(size);
  co_return co_await finish_later(id);
}

Task<Result<Extent>> SimulatedDriver::status(ByteRange range) {
  co_await pause();
  const SparseBytes::Run run = disk_->content().run_at(range);
  Extent extent;
  extent.length = run.length;
  extent.present = true;
  extent.data = run.has_pages;
  extent.zero = !run.has_pages;
  extent.offset = range.offset;
  co_return extent;
}

namespace {

struct SimulatedOptions {
  std::string disk;
  uint64_t request_alignment = 1;
  uint64_t longest_ns = 50'000;
  static constexpr auto table() {
    return std::array{
        option("disk", &SimulatedOptions::disk, "name under which the test attached the disk"),
        option("request-alignment", &SimulatedOptions::request_alignment,
               "of offsets and lengths of reads and writes", "1"),
        number_option("longest-ns", &SimulatedOptions::longest_ns,
                      "most nanoseconds a request takes; 0: none", "50000"),
    };
  }
};

Task<Result<std::unique_ptr<Driver>>> open_simulated(OpenContext& context) {
  Result<SimulatedOptions> options = take_options<SimulatedOptions>(context.options());
  if (!options) co_return fail(options.error());
  if (!is_power_of_two(options->request_alignment)) {
    co_return fail(ErrorCode::kInvalidArgument,
                   fmt::format("simulated-disk: option \"request-alignment\" wants a power of two, "
                               "not {}",
                               options->request_alignment));
  }
  auto* runtime = dynamic_cast<SimulatedRuntime*>(&Loop::current().runtime());
  if (runtime == nullptr) {
    co_return fail(ErrorCode::kUnsupported, "simulated-disk: only in a simulated runtime");
  }
  std::shared_ptr<SimulatedDisk> disk = runtime->find_disk(options->disk);
  if (disk == nullptr) {
    co_return fail(ErrorCode::kNotFound,
                   fmt::format("simulated-disk: no disk is attached as \"{}\"", options->disk));
  }
  const SimulatedDriver::Settings settings = {.request_alignment = options->request_alignment,
                                              .longest_ns = options->longest_ns};
  co_return std::make_unique<SimulatedDriver>(std::move(disk), settings);
}

}  // namespace

const DriverSpec simulated_disk_driver{
    .name = "simulated-disk",
    .summary = "a disk of a simulation, for tests",
    .kind = NodeKind::kStorage,
    .open = open_simulated,
    .open_options = describe_options<SimulatedOptions>,
};

}  // namespace ashlar
