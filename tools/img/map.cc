// img map: where the parts of an image live. Streams: memory does not grow with the image.
#include <fmt/format.h>

#include <string>

#include "tools/common/image_arguments.h"
#include "tools/common/peer_text.h"
#include "tools/common/size_text.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr OptionRow kStartRow{
    .name = "start-offset", .letter = 's', .value = "OFFSET", .help = "begin there"};
constexpr OptionRow kLengthRow{
    .name = "max-length", .letter = 'l', .value = "LENGTH", .help = "look at no more than that"};
constexpr OptionRow kOptions[] = {kFormatRow,     kImageOptsRow, kStartRow,  kLengthRow,
                                  kForceShareRow, kOutputRow,    kObjectRow, kUntrustedRow};

/// An extent and where it starts.
struct Entry {
  uint64_t start = 0;
  Extent extent;
};

/// Prints entries in one of the two forms.
class MapPrinter {
 public:
  MapPrinter(Output& out, OutputForm form) : out_(out), form_(form) {
    if (form_ == OutputForm::kJson) {
      out_.write("[");
    } else {
      row("Offset", "Length", "Mapped to", "File");
    }
  }

  /// Errors: kUnsupported when people cannot be told where it is.
  Result<void> print(const Entry& entry) {
    if (out_.error() != 0) return fail(Error::from_errno(out_.error(), "write the output"));
    if (form_ == OutputForm::kJson) {
      print_json(entry);
      return ok();
    }
    return print_human(entry);
  }

  void end() {
    if (form_ == OutputForm::kJson) out_.write("]\n");
  }

 private:
  void print_json(const Entry& entry) {
    const Extent& extent = entry.extent;
    out_.write(first_ ? "{ \"start\": " : ",\n{ \"start\": ");
    first_ = false;
    out_.write_decimal(entry.start);
    out_.write(", \"length\": ");
    out_.write_decimal(extent.length);
    out_.write(", \"depth\": ");
    out_.write_decimal(extent.depth);
    out_.write(extent.present ? ", \"present\": true" : ", \"present\": false");
    out_.write(extent.zero ? ", \"zero\": true" : ", \"zero\": false");
    out_.write(extent.data ? ", \"data\": true" : ", \"data\": false");
    out_.write(extent.compressed ? ", \"compressed\": true" : ", \"compressed\": false");
    if (extent.offset) {
      out_.write(", \"offset\": ");
      out_.write_decimal(*extent.offset);
    }
    out_.write("}");
  }

  Result<void> print_human(const Entry& entry) {
    const Extent& extent = entry.extent;
    if (extent.data && !extent.offset) {
      return fail(ErrorCode::kUnsupported,
                  "File contains external, encrypted or compressed clusters.");
    }
    if (!extent.data || extent.zero) return ok();
    column(entry.start);
    column(extent.length);
    column(*extent.offset);
    if (extent.file != nullptr) out_.write(extent.file->filename());
    out_.write("\n");
    return ok();
  }

  void row(std::string_view offset, std::string_view length, std::string_view mapped,
           std::string_view file) {
    for (const std::string_view cell : {offset, length, mapped}) {
      out_.write(cell);
      pad(cell.size());
    }
    out_.write(file);
    out_.write("\n");
  }

  void column(uint64_t value) {
    out_.write_hex(value);
    size_t width = value == 0 ? 1 : 2;
    for (uint64_t rest = value; rest != 0; rest >>= 4) ++width;
    pad(width);
  }

  void pad(size_t width) {
    static constexpr std::string_view kBlanks = "                ";
    // As printf does it: a cell that is too long pushes the next one.
    out_.write(kBlanks.substr(std::min(width, kBlanks.size())));
  }

  Output& out_;
  OutputForm form_;
  bool first_ = true;
};

/// True if `next` goes on where `entry` ends, in the same state.
bool continues(const Entry& entry, const Extent& next) {
  if (!entry.extent.same_state(next)) return false;
  if (entry.extent.offset.has_value() != next.offset.has_value()) return false;
  return !next.offset || *next.offset == *entry.extent.offset + entry.extent.length;
}

/// Prints the extents of `range`. An empty range gives one empty entry, as the peer's tool does.
Task<Result<void>> print_map(Backend& backend, MapPrinter& printer, ByteRange range) {
  Entry entry{.start = range.offset, .extent = {}};
  while (!range.empty()) {
    const Result<Extent> next = co_await backend.status(range);
    if (!next) co_return fail(next.error());
    if (next->length == 0) {
      co_return fail(ErrorCode::kIo, fmt::format("no status at {:#x}", range.offset));
    }
    Extent extent = *next;
    extent.length = std::min(extent.length, range.length);
    if (entry.extent.length != 0 && continues(entry, extent)) {
      entry.extent.length += extent.length;
    } else {
      if (entry.extent.length != 0) {
        const Result<void> printed = printer.print(entry);
        if (!printed) co_return fail(printed.error());
      }
      entry.start = range.offset;
      entry.extent = extent;
    }
    range = range.after(extent.length);
  }
  co_return printer.print(entry);
}

/// The part of the device that -s and -l leave. Empty after a complaint.
std::optional<ByteRange> wanted_range(const Program& program, const Arguments& arguments) {
  ByteRange range(0, kMaxDeviceSize);
  if (const auto text = arguments.value(kStartRow.name)) {
    const auto start = size_argument(program, "start offset", *text);
    if (!start) return std::nullopt;
    range.offset = *start;
  }
  if (const auto text = arguments.value(kLengthRow.name)) {
    const auto length = size_argument(program, "max length", *text);
    if (!length) return std::nullopt;
    range.length = *length;
  }
  return range;
}

int run(Program& program, const Arguments& arguments) {
  const auto form = output_form(program, arguments);
  const auto wanted = form ? wanted_range(program, arguments) : std::nullopt;
  if (!wanted || !check_operands(program, arguments, {1, 1}, "Expecting one image file name")) {
    return kFailure;
  }
  const auto request = image_request(program, arguments, arguments.operands()[0]);
  if (!request) return kFailure;
  const StartedSession started = start_session(program, arguments);
  if (!started.session) return started.status;
  const BackendRef backend = open_backend(*started.session, *request, Permission::kConsistentRead);
  if (!backend) return kFailure;
  const Result<uint64_t> size = backend->size();
  if (!size) {
    program.error(fmt::format("Failed to get size for '{}'", request->name));
    return kFailure;
  }
  ByteRange range = *wanted;
  range.length = range.offset < *size ? std::min(range.length, *size - range.offset) : 0;
  MapPrinter printer(program.out(), *form);
  const Result<void> printed = started.session->wait(print_map(*backend, printer, range));
  if (!printed && program.out().error() == 0) {  // finish() tells of an output that broke
    const bool told = printed.error().code() == ErrorCode::kUnsupported;
    program.error(
        told ? printed.error().message()
             : fmt::format("Failed to read image metadata: {}", peer_errno_text(printed.error())));
  }
  if (!printed) return kFailure;
  printer.end();
  return kSuccess;
}

}  // namespace

constinit const Command kMapCommand{.name = "map",
                                    .operands = "FILE",
                                    .summary = "show where the parts of an image live",
                                    .options = kOptions,
                                    .run = run};

}  // namespace ashlar::tools
