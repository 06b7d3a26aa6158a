// img dd: copies a part of an image, block by block.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "ashlar/options.h"
#include "base/checked.h"
#include "tools/common/create_options.h"
#include "tools/common/image_arguments.h"
#include "tools/common/peer_text.h"
#include "tools/common/unfinished_file.h"
#include "tools/img/copy_engine.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr OptionRow kTargetFormatRow{
    .name = "output-format", .letter = 'O', .value = "FMT", .help = "to write; default: raw"};
constexpr OptionRow kRows[] = {kFormatRow,     kImageOptsRow, kTargetFormatRow,
                               kForceShareRow, kObjectRow,    kUntrustedRow};

/// What the operands say.
struct DdOperands {
  std::string input;
  std::string output;
  uint64_t block = 512;
  std::optional<uint64_t> count;
  uint64_t skip = 0;

  /// The part of an input of `size` bytes that is copied. Empty and past the end: nothing is.
  ByteRange part(uint64_t size) const {
    const uint64_t begin = checked_mul(skip, block).value_or(size + 1);
    if (begin >= size) return {begin, 0};
    const uint64_t wanted = count ? checked_mul(*count, block).value_or(size) : size;
    return {begin, std::min(wanted, size - begin)};
  }
};

class OperandReader {
 public:
  explicit OperandReader(const Program& program) : program_(program) {}

  std::optional<DdOperands> read(std::span<const std::string_view> words) {
    for (const std::string_view word : words) {
      if (!read_word(word)) return std::nullopt;
    }
    if (has_input_ && has_output_) return operands_;
    program_.error("Must specify both input and output files");
    return std::nullopt;
  }

 private:
  bool read_word(std::string_view word) {
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
    if (equals != std::string_view::npos) {
      if (name == "if") return take(operands_.input, has_input_, value);
      if (name == "of") return take(operands_.output, has_output_, value);
      if (name == "bs") return number(name, value, {1, kMaxBlock}, operands_.block);
      if (name == "skip") return number(name, value, {0, kMaxDeviceSize}, operands_.skip);
      if (name == "count") {
        operands_.count = 0;
        return number(name, value, {0, kMaxDeviceSize}, *operands_.count);
      }
    }
    program_.error(fmt::format("unrecognized operand {}", name));
    return false;
  }

  static bool take(std::string& into, bool& has, std::string_view value) {
    into = value;
    has = true;
    return true;
  }

  struct Limits {
    uint64_t least;
    uint64_t most;
  };
  bool number(std::string_view name, std::string_view text, Limits limits, uint64_t& into) const {
    const Result<uint64_t> value = parse_size(text);
    if (value && *value >= limits.least && *value <= limits.most) {
      into = *value;
      return true;
    }
    const bool out_of_range = value || value.error().reason() == "size-range";
    program_.error(out_of_range ? fmt::format("Invalid {} specified. Must be between {} and {}.",
                                              name, limits.least, limits.most)
                                : fmt::format("Invalid {} specified: '{}'", name, text));
    return false;
  }

  static constexpr uint64_t kMaxBlock = std::numeric_limits<int32_t>::max();
  const Program& program_;
  DdOperands operands_;
  bool has_input_ = false;
  bool has_output_ = false;
};

Task<Result<void>> create_task(Graph& graph, std::string name, std::string format,
                               OptionDict options) {
  co_return co_await graph.create_image(std::move(name), std::move(format), std::move(options));
}
Task<void> run_engine(CopyEngine& engine) { co_await engine.run(); }
Task<Result<void>> flush_task(Backend& image) { co_return co_await image.flush(); }

/// One run of the command. Steps complain and say whether to go on.
class Dd {
 public:
  Dd(Session& session, const DdOperands& operands, std::string format)
      : session_(session), operands_(operands), format_(std::move(format)) {}

  int run(const ImageRequest& request, UnfinishedFile& output) {
    if (!open_input(request)) return kFailure;
    output.begin();
    if (!create() || !open_output() || !copy()) return kFailure;
    output.keep();
    return kSuccess;
  }

 private:
  bool complain(std::string_view text) const {
    session_.program().error(text);
    return false;
  }

  bool open_input(const ImageRequest& request) {
    BackendRef input = open_backend(session_, request, Permission::kConsistentRead);
    if (!input) return false;
    const Result<uint64_t> size = input->size();
    if (!size) return complain(fmt::format("Failed to get size for '{}'", operands_.input));
    ByteRange part = operands_.part(*size);
    if (part.offset > *size) {
      complain(fmt::format("{}: cannot skip to specified offset", operands_.input));
      part = {0, 0};
    }
    const Result<void> appended = source_.append_part(std::move(input), part);
    return appended || complain(peer_errno_text(appended.error()));
  }

  bool create() {
    const Result<CreateTable> table =
        CreateTable::of_file(session_.graph(), format_, operands_.output);
    if (!table) return complain(peer_text(table.error()));
    OptionDict options;
    options.set("size", std::to_string(source_.size()));
    const Result<void> created =
        session_.wait(create_task(session_.graph(), operands_.output, format_, options));
    if (created) return true;
    return complain(fmt::format("{}: error while creating output image: {}", operands_.output,
                                peer_text(created.error())));
  }

  bool open_output() {
    ImageRequest request;
    request.name = operands_.output;
    request.format = format_;
    output_ = open_backend(session_, request, Permission::kConsistentRead | Permission::kWrite);
    return bool(output_);
  }

  /// Everything is copied as data, zeroes included.
  bool copy() {
    CopyRules rules;
    rules.holes = CopyRules::Holes::kCopied;
    CopyPlan plan(source_, rules);
    CopySettings settings;
    settings.zero_block = 0;
    CopyEngine engine({source_, *output_}, plan, settings);
    session_.wait(run_engine(engine));
    if (engine.failure()) return tell(*engine.failure());
    const Result<void> flushed = session_.wait(flush_task(*output_));
    if (flushed) return true;
    return complain(fmt::format("error while writing to output image file: {}",
                                peer_errno_text(flushed.error())));
  }

  bool tell(const CopyFailure& failure) const {
    const bool writing = failure.step == CopyFailure::Step::kWrite;
    return complain(fmt::format("error while {} image file: {}",
                                writing ? "writing to output" : "reading from input",
                                peer_errno_text(failure.error)));
  }

  Session& session_;
  const DdOperands& operands_;
  const std::string format_;
  CopySource source_;
  BackendRef output_;
};

int run(Program& program, const Arguments& arguments) {
  const auto operands = OperandReader(program).read(arguments.operands());
  if (!operands) return kFailure;
  const auto request = image_request(program, arguments, operands->input);
  if (!request) return kFailure;
  UnfinishedFile output(operands->output);
  RuntimeOptions runtime;
  runtime.io_loops = 1;
  const StartedSession started = start_session(program, arguments, runtime);
  if (!started.session) return started.status;
  const auto format = arguments.value(kTargetFormatRow.name).value_or("raw");
  const Graph& graph = started.session->graph();
  if (graph.find_driver(format) == nullptr) {
    program.error("Unknown file format");
    return kFailure;
  }
  int status = kFailure;
  {
    Dd command(*started.session, *operands, std::string(format));
    status = command.run(*request, output);
  }
  const Result<void> closed = started.session->close();
  // After a failure, what cannot be written back any more is no news.
  if (closed || status != kSuccess) return status;
  program.error(peer_text(closed.error()));
  return kFailure;
}

}  // namespace

constinit const Command kDdCommand{.name = "dd",
                                   .operands = "[bs=SIZE] [count=N] [skip=N] if=FILE of=FILE",
                                   .summary = "copy a part of an image, block by block",
                                   .options = kRows,
                                   .run = run};

}  // namespace ashlar::tools
