// The io tool: its command line, and where its commands come from.
#include "tools/io/io.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>

#include "async/io_operation.h"
#include "tools/common/arguments.h"
#include "tools/common/image_arguments.h"
#include "tools/common/peer_text.h"
#include "tools/common/tool.h"
#include "tools/common/tracing.h"
#include "tools/io/image_settings.h"
#include "tools/io/shell.h"

namespace ashlar::tools {
namespace {

constexpr OptionRow kCommandRow{.name = "cmd",
                                .letter = 'c',
                                .value = "COMMAND",
                                .help = "run COMMAND rather than what stdin says; repeatable"};
constexpr OptionRow kReadOnlyRow{.name = "read-only", .letter = 'r', .help = "open read-only"};
constexpr OptionRow kSnapshotRow{
    .name = "snapshot", .letter = 's', .help = "write to a temporary overlay, dropped at the end"};
constexpr OptionRow kNoCacheRow{
    .name = "nocache", .letter = 'n', .help = "bypass the host's cache: -t none"};
constexpr OptionRow kCopyOnReadRow{
    .name = "copy-on-read", .letter = 'C', .help = "copy what is read from backing images"};
constexpr OptionRow kMisalignRow{
    .name = "misalign", .letter = 'm', .help = "use memory that is not aligned for direct access"};
constexpr OptionRow kNativeRow{.name = "native-aio", .letter = 'k', .help = "-i native"};
constexpr OptionRow kAioRow{.name = "aio",
                            .letter = 'i',
                            .value = "MODE",
                            .help = "how files are reached: threads, native or io_uring"};
constexpr OptionRow kCacheRow{
    .name = "cache", .letter = 't', .value = "MODE", .help = "cache mode; default: writeback"};
constexpr OptionRow kDiscardRow{
    .name = "discard", .letter = 'd', .value = "MODE", .help = "ignore or unmap (default)"};
constexpr OptionRow kTraceRow{
    .name = "trace", .letter = 'T', .value = "EVENTS", .help = "this build has no events"};
constexpr OptionRow kVersionRow{.name = "version", .letter = 'V', .help = "show the version"};
constexpr OptionRow kOptions[] = {
    kCommandRow,    kFormatRow,   kImageOptsRow, kReadOnlyRow, kSnapshotRow, kNoCacheRow,
    kCopyOnReadRow, kMisalignRow, kNativeRow,    kAioRow,      kCacheRow,    kDiscardRow,
    kForceShareRow, kObjectRow,   kUntrustedRow, kTraceRow,    kVersionRow};

constexpr std::string_view kPrompt = "qemu-io> ";

/// Lines of a file descriptor, while the loop goes on with requests in the background.
class LineReader {
 public:
  LineReader(Session& session, int descriptor) : session_(session), descriptor_(descriptor) {}

  /// Empty at the end.
  std::optional<std::string> next() {
    for (;;) {
      const size_t end = text_.find('\n');
      if (end != std::string::npos) return take(end, 1);
      if (at_end_) return text_.empty() ? std::nullopt : std::optional(take(text_.size(), 0));
      read_more();
    }
  }

 private:
  std::string take(size_t length, size_t skipped) {
    std::string line = text_.substr(0, length);
    text_.erase(0, length + skipped);
    return line;
  }

  static Task<void> readable(int descriptor) {
    IoOperation ready = IoOperation::poll(descriptor, POLLIN);
    (void)co_await ready;  // an error shows in the read that follows
  }

  void read_more() {
    session_.wait(readable(descriptor_));
    char buffer[4096];
    const ssize_t got = ::read(descriptor_, buffer, sizeof buffer);
    if (got > 0) text_.append(buffer, static_cast<size_t>(got));
    at_end_ = got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN);
  }

  Session& session_;
  int descriptor_;
  std::string text_;
  bool at_end_ = false;
};

int run_from_input(io::Shell& shell) {
  LineReader lines(shell.session(), STDIN_FILENO);
  int status = kSuccess;
  while (!shell.quitting()) {
    shell.out().write(kPrompt);
    shell.out().flush();
    const std::optional<std::string> line = lines.next();
    if (!line) break;
    if (shell.run(*line) != io::Outcome::kDone) status = kFailure;
  }
  return status;
}

int run_commands(io::Shell& shell, const std::vector<std::string_view>& commands) {
  if (commands.empty()) return run_from_input(shell);
  int status = kSuccess;
  for (const std::string_view command : commands) {
    if (shell.run(command) != io::Outcome::kDone) status = kFailure;
    if (shell.quitting()) break;
  }
  return status;
}

/// What the options say of the image, without its name. Complains.
std::optional<io::ImageSettings> image_settings(Program& program, const Arguments& arguments) {
  io::ImageSettings settings;
  for (const Arguments::Given& given : arguments.given()) {
    for (const OptionRow& row : kOptions) {
      if (row.name != given.option) continue;
      if (!settings.apply(program, row.letter, given.value)) return std::nullopt;
    }
  }
  return settings;
}

/// The image to start with; empty when there is none. Complains of contradictions.
std::optional<io::ShellImage> first_image(const Arguments& arguments,
                                          const io::ImageSettings& settings) {
  if (arguments.operands().empty()) return std::nullopt;
  io::ShellImage what = settings.image();
  what.image.name = arguments.operands()[0];
  if (const auto format = arguments.value(kFormatRow.name)) what.image.format = *format;
  if (arguments.has(kImageOptsRow.name)) what.image.syntax = ImageRequest::Syntax::kOptions;
  return what;
}

int run(Program& program, const Arguments& arguments) {
  if (arguments.has(kVersionRow.name)) {
    print_version(program);
    return kSuccess;
  }
  if (arguments.operands().size() > 1) {
    program.error(fmt::format("Unexpected argument: {}", arguments.operands()[1]));
    program.out().write(command_help(program, arguments.command()));
    return kFailure;
  }
  for (const std::string_view text : arguments.values(kTraceRow.name)) {
    if (const auto status = handle_trace(program, text)) return *status;
  }
  const auto settings = image_settings(program, arguments);
  if (!settings) return kFailure;
  if (arguments.has(kImageOptsRow.name) && arguments.has(kFormatRow.name)) {
    program.error("--image-opts and -f are mutually exclusive");
    return kFailure;
  }
  RuntimeOptions runtime;
  if (settings->image().aio) runtime.files = file_backend(*settings->image().aio);
  const StartedSession started = start_session(program, arguments, runtime);
  if (!started.session) return started.status;

  io::Shell shell(*started.session, arguments.has(kMisalignRow.name)
                                        ? io::Shell::Memory::kMisaligned
                                        : io::Shell::Memory::kAligned);
  const auto image = first_image(arguments, *settings);
  if (image && shell.open(*image) != io::Outcome::kDone) return kFailure;
  int status = run_commands(shell, arguments.values(kCommandRow.name));
  if (shell.close() != io::Outcome::kDone) status = kFailure;
  const Result<void> closed = started.session->close();
  if (closed) return status;
  program.error(peer_text(closed.error()));
  return kFailure;
}

constinit const Command kIoCommand{
    .name = {},
    .operands = "[FILE]",
    .summary = "Reads and writes disk images command by command; -c help lists the commands.",
    .options = kOptions,
    .run = run};

}  // namespace

int run_io(Program& program, std::span<char* const> words) {
  const auto arguments = parse_arguments(program, kIoCommand, words);
  return arguments ? run(program, *arguments) : arguments.error();
}

}  // namespace ashlar::tools
