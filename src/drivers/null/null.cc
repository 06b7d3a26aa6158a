// Null driver: discards writes, reads nothing or zeroes. For tests and benchmarks.
#include "drivers/null/null.h"

#include <fmt/format.h>

#include <array>

#include "ashlar/bytes.h"
#include "ashlar/loop.h"
#include "drivers/plain_reopen.h"

namespace ashlar {
namespace {

/// The two names are one driver here; scripts use both.
enum class Flavor : uint8_t { kCo, kAio };
constexpr std::string_view name_of(Flavor flavor) {
  return flavor == Flavor::kCo ? "null-co" : "null-aio";
}
std::string address_of(Flavor flavor) { return std::string(name_of(flavor)) + "://"; }

struct NullOptions {
  std::optional<std::string> filename;
  std::optional<uint64_t> size;
  uint64_t latency_ns = 0;
  bool read_zeroes = false;

  static constexpr auto table() {
    return std::array{
        option("filename", &NullOptions::filename, "null-co:// or null-aio://, as the driver"),
        option("size", &NullOptions::size, "size of the device", "1G"),
        number_option("latency-ns", &NullOptions::latency_ns, "delay of every request", "0"),
        option("read-zeroes", &NullOptions::read_zeroes,
               "reads give zeroes; else they leave memory as it is", "off"),
    };
  }
};

Result<void> check_address(Flavor flavor, std::string_view filename) {
  if (filename == address_of(flavor)) return ok();
  return fail(Error(ErrorCode::kInvalidArgument,
                    fmt::format("the only file name of driver {} is \"{}\", not \"{}\"",
                                name_of(flavor), address_of(flavor), filename))
                  .because("null-filename", {address_of(flavor)}));
}

class NullDriver final : public Driver {
 public:
  NullDriver(Flavor flavor, const NullOptions& options, OptionDict naming)
      : size_(align_up(options.size.value_or(1_GiB), 512)),
        latency_ns_(options.latency_ns),
        read_zeroes_(options.read_zeroes),
        naming_(std::move(naming)) {
    if (naming_.empty()) naming_.set("filename", address_of(flavor));
  }

  NodeInfo info() const override {
    NodeInfo info;
    info.size = size_;
    info.fua = NodeInfo::Fua::kNative;
    info.zeroes = NodeInfo::Zeroes::kNative;
    info.discards = NodeInfo::Discards::kNative;
    if (read_zeroes_) info.fresh = NodeInfo::Fresh::kZeroes;
    return info;
  }
  std::optional<Result<void>> read_now(ByteRange, MutableBuffers into) noexcept override {
    if (latency_ns_ != 0) return std::nullopt;
    if (read_zeroes_) into.fill(std::byte{0});
    return ok();
  }
  std::optional<Result<void>> write_now(ByteRange, ConstBuffers) noexcept override {
    if (latency_ns_ != 0) return std::nullopt;
    return ok();
  }
  Task<Result<void>> read(ByteRange, MutableBuffers into) override {
    if (read_zeroes_) into.fill(std::byte{0});
    return pause();
  }
  Task<Result<void>> write(ByteRange, ConstBuffers, WriteFlags) override { return pause(); }
  Task<Result<void>> write_zeroes(ByteRange, ZeroFlags) override { return pause(); }
  Task<Result<void>> discard(ByteRange) override { return pause(); }
  Task<Result<void>> flush() override { return pause(); }
  Task<Result<Extent>> status(ByteRange range) override {
    Extent extent;
    extent.length = range.length;
    extent.present = true;
    extent.zero = read_zeroes_;
    co_return extent;
  }
  std::optional<uint64_t> allocated_size() const override { return 0; }
  OptionDict naming_options() const override { return naming_; }
  Task<Result<std::unique_ptr<PreparedReopen>>> prepare_reopen(OptionDict&,
                                                               const OpenFlags&) override {
    return plain_reopen();
  }

 private:
  Task<Result<void>> pause() const {
    if (latency_ns_ != 0) co_await sleep_for(latency_ns_);
    co_return ok();
  }

  const uint64_t size_;
  const uint64_t latency_ns_;
  const bool read_zeroes_;
  OptionDict naming_;
};

template <Flavor flavor>
Task<Result<std::unique_ptr<Driver>>> open_null(OpenContext& context) {
  OptionDict naming;  // what was asked for, as it was written
  for (const auto& [key, value] : context.options().entries()) {
    if (key == "size" || key == "read-zeroes") naming.set(key, value);
  }
  const Result<NullOptions> options = take_options<NullOptions>(context.options());
  if (!options) co_return fail(options.error());
  if (options->filename) {
    if (Result<void> right = check_address(flavor, *options->filename); !right) {
      co_return fail(right.error());
    }
  }
  if (options->size.value_or(0) > kMaxDeviceSize - 512) {
    co_return fail(Error(ErrorCode::kTooLarge,
                         fmt::format("{}: a device of {} bytes is above the limit of 2^63",
                                     name_of(flavor), *options->size))
                       .because("device-too-large"));
  }
  std::unique_ptr<Driver> driver =
      std::make_unique<NullDriver>(flavor, *options, std::move(naming));
  co_return std::move(driver);
}

template <Flavor flavor>
Result<OptionDict> parse_null_name(std::string_view filename) {
  if (Result<void> right = check_address(flavor, filename); !right) return fail(right.error());
  return OptionDict();
}

}  // namespace

constinit const DriverSpec null_co_driver{
    .name = "null-co",
    .summary = "discards writes, reads nothing or zeroes",
    .kind = NodeKind::kStorage,
    .open = open_null<Flavor::kCo>,
    .open_options = describe_options<NullOptions>,
    .filename_prefix = "null-co",
    .parse_filename = parse_null_name<Flavor::kCo>,
};

constinit const DriverSpec null_aio_driver{
    .name = "null-aio",
    .summary = "the same as null-co",
    .kind = NodeKind::kStorage,
    .open = open_null<Flavor::kAio>,
    .open_options = describe_options<NullOptions>,
    .filename_prefix = "null-aio",
    .parse_filename = parse_null_name<Flavor::kAio>,
};

}  // namespace ashlar
