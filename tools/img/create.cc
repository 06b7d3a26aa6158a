// img create: makes a new image, empty or on top of a backing image.
#include <fmt/format.h>

#include <fstream>
#include <string>

#include "tools/common/create_options.h"
#include "tools/common/image_arguments.h"
#include "tools/common/peer_text.h"
#include "tools/common/size_text.h"
#include "tools/common/unfinished_file.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr std::string_view kBackingFile = "backing_file";
constexpr std::string_view kBackingFormat = "backing_fmt";
constexpr std::string_view kSize = "size";

constexpr OptionRow kTargetRow{
    .name = "format", .letter = 'f', .value = "FMT", .help = "format to create; default: raw"};
constexpr OptionRow kListRow{
    .name = "options", .letter = 'o', .value = "LIST", .help = "key=value,... or help"};
constexpr OptionRow kBackingRow{.name = "backing",
                                .letter = 'b',
                                .value = "FILE",
                                .help = "image that shows through where nothing was written"};
constexpr OptionRow kBackingFormatRow{
    .name = "backing-format", .letter = 'B', .value = "FMT", .help = "format of that; required"};
constexpr OptionRow kUnsafeRow{
    .name = "backing-unsafe", .letter = 'u', .help = "do not look at the backing image"};
constexpr OptionRow kOptions[] = {
    kTargetRow,
    kListRow,
    kBackingRow,
    kBackingFormatRow,
    {.name = "backing-fmt", .letter = 'F', .value = "FMT", .same_as = kBackingFormatRow.name},
    kUnsafeRow,
    kQuietRow,
    kObjectRow,
    kUntrustedRow,
};

/// One image being created. The steps print their complaints and return whether to go on.
class Creation {
 public:
  Creation(Session& session, const Arguments& arguments, CreateTable table, UnfinishedFile& file)
      : session_(session),
        arguments_(arguments),
        file_(file),
        table_(std::move(table)),
        filename_(arguments.operands()[0]) {}

  int run() {
    if (!read_options() || !take_backing_arguments() || !look_at_backing() || !settle_size()) {
      return kFailure;
    }
    if (!arguments_.has(kQuietRow.name)) {
      Output& out = session_.program().out();
      out.write(table_.formatting_line(filename_, options_) + "\n");
      out.flush();
    }
    file_.begin();
    const Result<void> created = session_.wait(create_task(*this));
    if (created) file_.keep();
    if (!created && created.error().reason() == "file-resize" &&
        created.error().code() == ErrorCode::kTooLarge) {
      complain(
          fmt::format("The image size is too large for file format '{}'", table_.format().name));
      return kFailure;
    }
    if (created) return kSuccess;
    complain(created.error());
    if (created.error().reason().starts_with("file-preallocation")) {
      leave_empty_file();
      file_.keep();
    }
    return kFailure;
  }

 private:
  static Task<Result<void>> create_task(Creation& self) {
    co_return co_await self.session_.graph().create_image(
        self.filename_, std::string(self.table_.format().name), self.options_);
  }

  /// Scripts find the name taken after a kind of preallocation that files do not have.
  void leave_empty_file() const {
    const bool plain = filename_.find(':') == std::string::npos;
    if (plain) std::ofstream(filename_, std::ios::app);
  }

  bool complain(std::string_view text) const {
    session_.program().error(fmt::format("{}: {}", filename_, text));
    return false;
  }
  bool complain(const Error& error) const { return complain(peer_text(error)); }

  bool read_options() {
    const auto operands = arguments_.operands();
    if (operands.size() > 1) {
      size_ = size_argument(session_.program(), "image size", operands[1]);
      if (!size_) return false;
    }
    Result<OptionDict> options = table_.parse(arguments_.values(kListRow.name));
    if (!options) return complain(options.error());
    options_ = std::move(*options);
    return true;
  }

  bool take_backing_arguments() {
    const auto file = arguments_.value(kBackingRow.name);
    const auto format = arguments_.value(kBackingFormatRow.name);
    if (file && table_.find(kBackingFile) == nullptr) {
      return complain(
          fmt::format("Backing file not supported for file format '{}'", table_.format().name));
    }
    if (format && table_.find(kBackingFormat) == nullptr) {
      return complain(fmt::format("Backing file format not supported for file format '{}'",
                                  table_.format().name));
    }
    if (file) options_.set(kBackingFile, std::string(*file));
    if (format) options_.set(kBackingFormat, std::string(*format));
    backing_ = options_.text(kBackingFile);
    if (!backing_) return true;
    if (backing_->empty()) return complain("Expected backing file name, got empty string");
    if (*backing_ == filename_) {
      return complain(
          "Error: Trying to create an image with the same filename as the backing file");
    }
    return true;
  }

  /// Opens the backing image: it must be there, and gives the size when none was asked for.
  bool look_at_backing() {
    if (!backing_) return true;
    const std::optional<std::string> format = options_.text(kBackingFormat);
    std::optional<std::string> detected;
    if (!arguments_.has(kUnsafeRow.name)) {
      const Result<NodeRef> node = open_backing(format);
      if (!node) {
        complain(node.error());
        session_.program().note("Could not open backing image.");
        return false;
      }
      backing_size_ = (*node)->size();
      detected = (*node)->spec().name;
    }
    if (format) return true;
    complain("Backing file specified without backing format");
    if (detected) session_.program().note(fmt::format("Detected format of {}.", *detected));
    return false;
  }

  Result<NodeRef> open_backing(const std::optional<std::string>& format) {
    const Reference reference{
        .kind = Reference::Kind::kBacking, .name = *backing_, .format = format.value_or("")};
    Result<std::optional<OptionDict>> options =
        follow_references()->resolve(reference, std::string(filename_));
    if (!options) return fail(options.error());
    ImageRequest request;
    request.name = (*options)->to_json_name();
    const std::optional<std::string> plain = (*options)->text("filename");
    if (plain && (*options)->entries().size() == (format ? 2 : 1)) {
      request.name = *plain;
      request.format = format;
    }
    request.flags.read_only = true;
    request.flags.metadata_only = true;  // only its size matters
    request.flags.no_backing = true;
    return try_open_node(session_, request);
  }

  bool settle_size() {
    const std::optional<std::string> listed = options_.text(kSize);
    if (listed && size_) return complain("The image size must be specified only once");
    if (listed) return true;
    if (!size_) size_ = backing_size_;
    if (!size_) return complain("Image creation needs a size parameter");
    options_.set(kSize, std::to_string(*size_));
    return true;
  }

  Session& session_;
  const Arguments& arguments_;
  UnfinishedFile& file_;
  CreateTable table_;
  std::string filename_;
  OptionDict options_;
  std::optional<std::string> backing_;
  std::optional<uint64_t> size_;
  std::optional<uint64_t> backing_size_;
};

/// -o help.
int print_option_help(Session& session, const Arguments& arguments, std::string_view format) {
  const auto operands = arguments.operands();
  const Result<std::string> help = create_option_help(
      session.graph(), format, operands.empty() ? std::string_view() : operands[0]);
  if (!help) {
    session.program().error(peer_text(help.error()));
    return kFailure;
  }
  session.program().out().write(*help);
  return kSuccess;
}

int run(Program& program, const Arguments& arguments) {
  const auto lists = arguments.values(kListRow.name);
  for (const std::string_view list : lists) {
    if (const Result<void> well_formed = check_option_list(list); !well_formed) {
      program.error(peer_text(well_formed.error()));
      return kFailure;
    }
  }
  const bool help = asks_for_option_help(lists);
  if (!help && !check_operands(program, arguments, {1, 2}, "Expecting image file name")) {
    return kFailure;
  }
  const auto operands = arguments.operands();
  UnfinishedFile file(std::string(operands.empty() ? std::string_view() : operands[0]));
  const StartedSession started = start_session(program, arguments);
  if (!started.session) return started.status;
  Session& session = *started.session;
  const std::string_view format = arguments.value(kTargetRow.name).value_or("raw");
  if (help) return print_option_help(session, arguments, format);
  const std::string_view filename = arguments.operands()[0];
  Result<CreateTable> table = CreateTable::of_file(session.graph(), format, filename);
  if (!table) {
    program.error(fmt::format("{}: {}", filename, peer_text(table.error())));
    return kFailure;
  }
  return Creation(session, arguments, std::move(*table), file).run();
}

}  // namespace

constinit const Command kCreateCommand{.name = "create",
                                       .operands = "FILE [SIZE]",
                                       .summary = "make a new image",
                                       .options = kOptions,
                                       .run = run};

}  // namespace ashlar::tools
