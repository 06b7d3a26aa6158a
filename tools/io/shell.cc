// The shell: running lines, opening and closing the image, arguments that commands share.
#include "tools/io/shell.h"

#include <fmt/format.h>

#include "ashlar/options.h"
#include "tools/common/peer_text.h"

namespace ashlar::tools::io {
namespace {

std::vector<std::string> split(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const size_t end = std::min(line.find(' '), line.size());
    if (end != 0) words.emplace_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

std::string expected_count(ShellCommand::Count count) {
  if (count.least == count.most) return fmt::format("{} arguments", count.least);
  if (count.most == ShellCommand::kAnyNumber)
    return fmt::format("at least {} arguments", count.least);
  return fmt::format("between {} and {} arguments", count.least, count.most);
}

Task<void> start_task(Scope& scope, Task<void> task) {
  scope.spawn(std::move(task));
  co_return;
}

Task<void> close_task(Graph& graph, Backend& image, Result<void>& result) {
  if (image.writable()) result = co_await image.flush();
  Result<void> ejected = co_await image.eject_medium(Backend::Eject::kForce);
  if (result && !ejected) result = ejected;
  co_await graph.settle();
}

}  // namespace

Outcome Shell::run(std::string_view line) {
  std::vector<std::string> words = split(line);
  if (words.empty()) return Outcome::kDone;
  const ShellCommand* command = find_shell_command(words[0]);
  if (command == nullptr) {
    program().note(fmt::format("command \"{}\" not found", words[0]));
    return Outcome::kFailed;
  }
  if (command->needs != ShellCommand::Needs::kNothing && !has_image()) {
    program().note("no file open, try 'help open'");
    return Outcome::kFailed;
  }
  const size_t count = words.size() - 1;
  if (count < command->arguments.least || count > command->arguments.most) {
    program().note(fmt::format("bad argument count {} to {}, expected {}", count, words[0],
                               expected_count(command->arguments)));
    return Outcome::kFailed;
  }
  if (command->needs == ShellCommand::Needs::kWritableImage && !image().writable()) {
    program().error("Block node is read-only");
    return Outcome::kFailed;
  }
  return command->run(*this, words);
}

Outcome Shell::usage(Words words) {
  const ShellCommand* command = find_shell_command(words[0]);
  if (command != nullptr) out().write(synopsis_line(*command, words[0]));
  return Outcome::kFailed;
}

Outcome Shell::open(const ShellImage& what) {
  if (has_image()) {
    program().error("file open already, try 'help close'");
    return Outcome::kFailed;
  }
  Result<OpenImage> opened = open_shell_image(session_, what);
  if (!opened) {
    const bool named = what.image.syntax == ImageRequest::Syntax::kFileName;
    program().error(fmt::format("can't open{}{}: {}", named ? " device " : "",
                                named ? what.image.name : "", peer_text(opened.error())));
    return Outcome::kFailed;
  }
  open_ = std::move(*opened);
  return Outcome::kDone;
}

Outcome Shell::set_writable(bool writable) {
  const Result<void> set = image().set_permissions(shell_permissions(writable), Permissions::all());
  if (set) return Outcome::kDone;
  program().error(peer_text(set.error()));
  return Outcome::kFailed;
}

Outcome Shell::close() {
  if (!has_image()) return Outcome::kDone;
  wait_for_started();
  Result<void> closed;
  wait(close_task(session_.graph(), image(), closed));
  open_ = {};
  if (closed) return Outcome::kDone;
  program().error(peer_text(closed.error()));
  return Outcome::kFailed;
}

void Shell::start(Task<void> task) { wait(start_task(started_, std::move(task))); }

void Shell::wait_for_started() { wait(started_.join()); }

std::optional<AlignedBuffer> Shell::buffer(size_t size) {
  constexpr size_t kShift = 16;
  auto memory = AlignedBuffer::allocate(size, memory_ == Memory::kMisaligned ? kShift : 0);
  if (!memory) out().write(fmt::format("not enough memory for {} bytes\n", size));
  return memory;
}

std::optional<uint64_t> Shell::number(std::string_view text) {
  const Result<uint64_t> size = parse_size(text);
  if (size && *size <= kMaxDeviceSize) return *size;
  const bool too_large = size || size.error().reason() == "size-range";
  out().write(fmt::format(
      "Parsing error: {} -- {}\n",
      too_large ? "argument too large" : "non-numeric argument, or extraneous/unrecognized suffix",
      text));
  return std::nullopt;
}

std::optional<std::byte> Shell::pattern(std::string_view text) {
  const Result<uint64_t> value = parse_number(text);
  if (value && *value <= 0xff) return static_cast<std::byte>(*value);
  out().write(fmt::format("{} is not a valid pattern byte\n", text));
  return std::nullopt;
}

std::optional<ByteRange> Shell::range(std::string_view offset, std::string_view length) {
  const std::optional<uint64_t> start = number(offset);
  if (!start) return std::nullopt;
  const std::optional<uint64_t> count = number(length);
  if (!count) return std::nullopt;
  return ByteRange{*start, *count};
}

Outcome Shell::fail_with(std::string_view line) {
  out().write(fmt::format("{}\n", line));
  return Outcome::kFailed;
}

std::string failure_text(const Error& error) {
  // A guest's disk answers so to what lies past its end.
  if (error.code() == ErrorCode::kOutOfRange) return "Input/output error";
  return peer_errno_text(error);
}

}  // namespace ashlar::tools::io
