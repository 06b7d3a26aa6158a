// img measure: how large a file a new image will need.
#include <fmt/format.h>

#include <string>

#include "tools/common/create_options.h"
#include "tools/common/image_arguments.h"
#include "tools/common/json_writer.h"
#include "tools/common/peer_text.h"
#include "tools/common/size_text.h"
#include "tools/common/snapshot_argument.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr OptionRow kSnapshotRow{.name = "snapshot",
                                 .letter = 'l',
                                 .value = "SNAPSHOT",
                                 .help = "measure the contents of that snapshot"};
constexpr OptionRow kTargetRow{.name = "target-format",
                               .letter = 'O',
                               .value = "FMT",
                               .help = "format of the new image; default: raw"};
constexpr OptionRow kListRow{.name = "options",
                             .letter = 'o',
                             .value = "LIST",
                             .help = "options of the new image: key=value,... or help"};
constexpr OptionRow kSizeRow{
    .name = "size", .letter = 's', .value = "SIZE", .help = "of an empty image, instead of FILE"};
constexpr OptionRow kOptions[] = {
    kFormatRow,    {.name = "source-format", .value = "FMT", .same_as = kFormatRow.name},
    kImageOptsRow, {.name = "source-image-opts", .same_as = kImageOptsRow.name},
    kSnapshotRow,  kTargetRow,
    kListRow,      {.name = "target-format-options", .value = "LIST", .same_as = kListRow.name},
    kSizeRow,      kForceShareRow,
    kOutputRow,    kObjectRow,
    kUntrustedRow,
};
constexpr uint64_t kSizeUnit = 512;  // images are counted in whole units of this many bytes

/// An empty disk of a size.
class SizeSource final : public MeasureSource {
 public:
  explicit SizeSource(uint64_t size) : size_(size) {}
  uint64_t size() const override { return size_; }
  Task<Result<Extent>> status(ByteRange range) override {
    Extent extent;
    extent.length = range.length;
    extent.data = true;
    co_return extent;
  }
  bool size_only() const override { return true; }
  const Driver* driver() const override { return nullptr; }

 private:
  uint64_t size_;
};

/// The contents of an image.
class ImageSource final : public MeasureSource {
 public:
  ImageSource(Backend& backend, uint64_t size) : backend_(backend), size_(size) {}
  uint64_t size() const override { return size_; }
  Task<Result<Extent>> status(ByteRange range) override { return backend_.status(range); }
  bool size_only() const override { return false; }
  const Driver* driver() const override { return &backend_.root()->driver(); }

 private:
  Backend& backend_;
  uint64_t size_;
};

using MeasureTask = Task<Result<Measurement>> (*)(MeasureSource& source, OptionDict options);

Task<Result<Measurement>> measure_task(MeasureTask measure, MeasureSource& source,
                                       OptionDict options) {
  co_return co_await measure(source, std::move(options));
}

void print(Program& program, OutputForm form, const Measurement& needs) {
  std::string text;
  if (form == OutputForm::kHuman) {
    text = fmt::format("required size: {}\nfully allocated size: {}\n", needs.required,
                       needs.fully_allocated);
    if (needs.bitmaps) text += fmt::format("bitmaps size: {}\n", *needs.bitmaps);
  } else {
    JsonWriter json(text);
    json.begin_object();
    if (needs.bitmaps) json.member("bitmaps", *needs.bitmaps);
    json.member("required", needs.required);
    json.member("fully-allocated", needs.fully_allocated);
    json.end_object();
    text += '\n';
  }
  program.out().write(text);
}

int failed(const Program& program, std::string_view message) {
  program.error(message);
  return kFailure;
}

/// What is to be measured: exactly one of a size and a file.
struct Subject {
  std::optional<uint64_t> size;
  std::optional<ImageRequest> image;
  std::optional<SnapshotArgument> snapshot;
};

std::optional<Subject> subject_of(Program& program, const Arguments& arguments) {
  Subject subject;
  const auto operands = arguments.operands();
  const auto size = arguments.value(kSizeRow.name);
  std::string_view complaint;
  const bool image_options = arguments.has(kImageOptsRow.name) || arguments.has(kFormatRow.name) ||
                             arguments.has(kSnapshotRow.name);
  if (operands.size() > 1) complaint = "At most one filename argument is allowed.";
  if (operands.empty() && image_options) {
    complaint = "--image-opts, -f, and -l require a filename argument.";
  } else if (operands.empty() && !size) {
    complaint = "Either --size N or one filename must be specified.";
  } else if (!operands.empty() && size) {
    complaint = "--size N cannot be used together with a filename.";
  }
  if (!complaint.empty()) {
    program.error(complaint);
    return std::nullopt;
  }
  if (size) {
    subject.size = size_argument(program, "image size", *size);
    if (!subject.size) return std::nullopt;
  } else {
    subject.image = image_request(program, arguments, operands[0]);
    if (!subject.image) return std::nullopt;
    if (const auto snapshot = arguments.value(kSnapshotRow.name)) {
      subject.snapshot = snapshot_argument(program, *snapshot);
      if (!subject.snapshot) return std::nullopt;
    }
  }
  return subject;
}

/// The options of the new image. Empty after a complaint.
std::optional<OptionDict> target_options(const Program& program, const CreateTable& table,
                                         const Arguments& arguments) {
  const auto lists = arguments.values(kListRow.name);
  for (const std::string_view list : lists) {
    if (const Result<void> well_formed = check_option_list(list); !well_formed) {
      program.error(peer_text(well_formed.error()));
      return std::nullopt;
    }
  }
  Result<OptionDict> options = table.parse(lists);
  if (options) return std::move(*options);
  program.error(peer_text(options.error()));
  program.error(fmt::format("Invalid options for file format '{}'", table.format().name));
  return std::nullopt;
}

Result<Measurement> measure(Session& session, const Subject& subject, MeasureTask how,
                            OptionDict options) {
  if (subject.size) {
    SizeSource source(align_up(*subject.size, kSizeUnit));
    return session.wait(measure_task(how, source, std::move(options)));
  }
  ImageRequest image = *subject.image;
  if (subject.snapshot && !select_snapshot(session, image, *subject.snapshot)) {
    return fail(ErrorCode::kCancelled, "");  // told already
  }
  const BackendRef backend = open_backend(session, image, Permission::kConsistentRead);
  if (!backend) return fail(ErrorCode::kCancelled, "");  // told already
  const Result<uint64_t> size = backend->size();
  if (!size) return fail(size.error());
  ImageSource source(*backend, align_up(*size, kSizeUnit));
  return session.wait(measure_task(how, source, std::move(options)));
}

int run(Program& program, const Arguments& arguments) {
  const auto form = output_form(program, arguments);
  const auto subject = form ? subject_of(program, arguments) : std::nullopt;
  if (!subject) return kFailure;
  const StartedSession started = start_session(program, arguments);
  if (!started.session) return started.status;
  Session& session = *started.session;
  const std::string_view format = arguments.value(kTargetRow.name).value_or("raw");
  const DriverSpec* driver = session.graph().find_driver(format);
  if (driver == nullptr) return failed(program, fmt::format("Unknown file format '{}'", format));
  if (driver->measure == nullptr) {
    return failed(program,
                  fmt::format("Block driver '{}' does not support size measurement", format));
  }
  const Result<CreateTable> table = CreateTable::of_file(session.graph(), format, "");
  if (!table) return failed(program, peer_text(table.error()));
  if (asks_for_option_help(arguments.values(kListRow.name))) {
    program.out().write(*create_option_help(session.graph(), format, {}));
    return kSuccess;
  }
  auto options = target_options(program, *table, arguments);
  if (!options) return kFailure;
  const auto needs = measure(session, *subject, driver->measure, std::move(*options));
  if (!needs) {
    if (needs.error().code() != ErrorCode::kCancelled) program.error(peer_text(needs.error()));
    return kFailure;
  }
  print(program, *form, *needs);
  return kSuccess;
}

}  // namespace

constinit const Command kMeasureCommand{.name = "measure",
                                        .operands = "FILE | --size SIZE",
                                        .summary = "tell how large a file a new image will need",
                                        .options = kOptions,
                                        .run = run};

}  // namespace ashlar::tools
