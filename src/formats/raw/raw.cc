// Raw format: the file is the disk, or a window of the file is.
#include "formats/raw/raw.h"

#include <fmt/format.h>

#include <array>

#include "base/checked.h"

namespace ashlar {
namespace {

constexpr uint64_t kSizeUnit = 512;  // sizes of disks come in these

struct RawOptions {
  uint64_t offset = 0;
  std::optional<uint64_t> size;

  static constexpr auto table() {
    return std::array{
        option("offset", &RawOptions::offset, "where in the file the disk begins", "0"),
        option("size", &RawOptions::size,
               "size of the disk; without it, up to the end of the file"),
    };
  }
};

struct RawCreateOptions {
  uint64_t size = 0;
  static constexpr auto table() {
    return std::array{option("size", &RawCreateOptions::size, "Virtual disk size")};
  }
};

/// The window of the file that is the disk, and how the user wrote it.
struct Window {
  RawOptions options;
  OptionDict naming;
};

/// Takes the window from `options` and checks it against the file.
Result<Window> take_window(OptionDict& options, const Child& file) {
  Window window;
  for (const std::string_view key : {"offset", "size"}) {
    if (const OptionValue* value = options.find(key)) window.naming.set(key, *value);
  }
  Result<RawOptions> taken = take_options<RawOptions>(options);
  if (!taken) return fail(taken.error());
  window.options = *taken;
  const uint64_t offset = taken->offset;
  const uint64_t size = taken->size.value_or(0);
  const uint64_t file_size = file.size();
  if (offset > file_size) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("option \"offset\" is {}, but \"{}\" has only {} bytes", offset,
                                  file.filename(), file_size))
                    .because("raw-offset", {std::to_string(offset), std::to_string(file_size)}));
  }
  if (size > file_size - offset) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("{} bytes from {} on are more than \"{}\" has, which is {}", size,
                                  offset, file.filename(), file_size))
                    .because("raw-size", {std::to_string(offset), std::to_string(size),
                                          std::to_string(file_size)}));
  }
  if (size % kSizeUnit != 0) {
    return fail(
        Error(ErrorCode::kInvalidArgument,
              fmt::format("option \"size\" wants a multiple of {}, not {}", kSizeUnit, size))
            .because("raw-size-unaligned"));
  }
  return window;
}

class RawDriver final : public FormatDriver {
 public:
  RawDriver(Child& file, Window window) : file_(file), window_(std::move(window)) {}

  NodeInfo info() const override {
    const NodeInfo below = file_.info();
    NodeInfo info;
    info.size = window_.options.size.value_or(size_to_the_end());
    info.zeroes = NodeInfo::Zeroes::kNative;
    info.discards = below.discards;
    info.fresh = below.fresh;
    info.writers = below.writers;
    if (!window_.options.size) info.end = below.end;
    return info;
  }

  std::optional<Mapping> lookup(ByteRange guest) const noexcept override {
    const uint64_t end = window_.options.size.value_or(kMaxDeviceSize - window_.options.offset);
    Mapping mapping;
    mapping.length = std::max(end, guest.end()) - guest.offset;
    mapping.where = InFile{&file_, window_.options.offset + guest.offset, true};
    return mapping;
  }
  Task<Result<Mapping>> map(ByteRange guest) override { co_return *lookup(guest); }

  Task<Result<void>> flush() override { return file_.flush(); }

  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override {
    if (window_.options.size) {
      co_return fail(Error(ErrorCode::kUnsupported,
                           "option \"size\" fixes the size of this disk, which cannot change")
                         .because("raw-fixed-size"));
    }
    const std::optional<uint64_t> end = checked_add(size, window_.options.offset);
    if (!end || *end > kMaxDeviceSize) {
      co_return fail(Error(ErrorCode::kTooLarge,
                           fmt::format("{} bytes from {} on are more than a file can have", size,
                                       window_.options.offset))
                         .because("raw-too-large"));
    }
    Result<void> resized = co_await file_.resize(*end, flags);
    if (!resized) co_return resized;
    // What cannot change its size may be content with being large enough; a raw disk is not.
    const uint64_t became = info().size;
    if (became == align_up(size, kSizeUnit)) co_return ok();
    co_return fail(
        Error(ErrorCode::kUnsupported, fmt::format("\"{}\" stays at {} bytes and cannot have {}",
                                                   file_.filename(), became, size))
            .because("raw-not-resized"));
  }

  OptionDict naming_options() const override { return window_.naming; }

  Task<Result<std::unique_ptr<PreparedReopen>>> prepare_reopen(OptionDict& options,
                                                               const OpenFlags&) override {
    Window window = window_;
    if (options.find("offset") != nullptr || options.find("size") != nullptr) {
      for (const auto& [key, value] : window_.naming.entries()) {
        if (options.find(key) == nullptr) options.set(key, value);
      }
      Result<Window> changed = take_window(options, file_);
      if (!changed) co_return fail(changed.error());
      window = std::move(*changed);
    }
    std::unique_ptr<PreparedReopen> prepared =
        std::make_unique<Reopening>(*this, std::move(window));
    co_return std::move(prepared);
  }

 private:
  class Reopening final : public PreparedReopen {
   public:
    Reopening(RawDriver& driver, Window window) : driver_(driver), window_(std::move(window)) {}
    void commit() noexcept override { driver_.window_ = std::move(window_); }

   private:
    RawDriver& driver_;
    Window window_;
  };

  uint64_t size_to_the_end() const {
    const uint64_t end = file_.size();
    // The file may have been cut since.
    if (end <= window_.options.offset) return 0;
    return align_up(end - window_.options.offset, kSizeUnit);
  }

  Child& file_;
  Window window_;
};

Task<Result<std::unique_ptr<Driver>>> open_raw(OpenContext& context) {
  Result<Child*> file = co_await context.open_child("file", ChildRole::kFiltered);
  if (!file) co_return fail(file.error());
  Result<Window> window = take_window(context.options(), **file);
  if (!window) co_return fail(window.error());
  std::unique_ptr<Driver> driver = std::make_unique<RawDriver>(**file, std::move(*window));
  co_return std::move(driver);
}

Task<Result<void>> create_raw(CreateContext& context, OptionDict options) {
  const Result<RawCreateOptions> taken = take_options<RawCreateOptions>(options);
  if (!taken) co_return fail(taken.error());
  if (taken->size > kMaxDeviceSize - kSizeUnit) {
    co_return fail(Error(ErrorCode::kTooLarge,
                         fmt::format("{} bytes are more than a disk can have", taken->size))
                       .because("raw-too-large"));
  }
  Result<Child*> file =
      co_await context.create_file(align_up(taken->size, kSizeUnit), Preallocation::kOff);
  if (!file) co_return fail(file.error());
  co_return ok();
}

Task<Result<Measurement>> measure_raw(MeasureSource& source, OptionDict options) {
  const Result<RawCreateOptions> taken = take_options<RawCreateOptions>(options);
  if (!taken) co_return fail(taken.error());
  Measurement measurement;
  measurement.required = align_up(source.size(), kSizeUnit);  // devices end below 2^63
  measurement.fully_allocated = measurement.required;
  co_return measurement;
}

/// Anything can be a raw image: it wins only where nothing else claims the bytes.
int probe_raw(std::span<const std::byte>) { return 1; }

}  // namespace

constexpr ObjectOption kRawObjects[] = {{"file"}};

constinit const DriverSpec raw_driver{
    .name = "raw",
    .summary = "the bytes of the disk, plain",
    .kind = NodeKind::kFormat,
    .open = open_raw,
    .open_options = describe_options<RawOptions>,
    .objects = kRawObjects,
    .probe = probe_raw,
    .create = create_raw,
    .create_options = describe_options<RawCreateOptions>,
    .measure = measure_raw,
};

}  // namespace ashlar
