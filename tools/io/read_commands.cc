// Commands of the shell that read and wait: read, readv.
#include <fmt/format.h>

#include "tools/io/commands.h"
#include "tools/io/requests.h"

namespace ashlar::tools::io {
namespace {

Task<Result<void>> read_task(Backend& image, ByteRange range, MutableBuffers into) {
  co_return co_await image.read(range, into);
}
Task<Result<void>> read_state_task(VmStateArea& area, ByteRange range, MutableBuffers into) {
  co_return co_await area.read_vm_state(range, into);
}

/// -P with -s and -l, which choose the part of the buffer to look at. Complains.
std::optional<Expectation> expectation(Shell& shell, const OptionLetters& letters, size_t size) {
  const auto pattern = shell.pattern(*letters.value('P'));
  if (!pattern) return std::nullopt;
  const auto start = letters.has('s') ? shell.number(*letters.value('s')) : 0;
  if (!start) return std::nullopt;
  const auto rest = *start <= size ? size - *start : 0;
  const auto length = letters.has('l') ? shell.number(*letters.value('l')) : rest;
  if (!length) return std::nullopt;
  if (*start > size || *length > rest) {
    shell.fail_with("pattern verification range exceeds end of read data");
    return std::nullopt;
  }
  return Expectation{.pattern = *pattern, .window = {*start, *length}};
}

/// One request of `read` or `readv`.
struct Read {
  std::string_view command;  ///< as failures call it
  ByteRange range;
  MutableBuffers into;
  ReadHandling handling;
  enum class From : uint8_t { kDisk, kMachineStates } from = From::kDisk;
};

Result<void> read_from(Shell& shell, const Read& read) {
  if (read.from == Read::From::kDisk) {
    return shell.wait(read_task(shell.image(), read.range, read.into));
  }
  VmStateArea* area = machine_states(shell);
  if (area == nullptr) return fail(ErrorCode::kUnsupported, "no area for machine states");
  return shell.wait(read_state_task(*area, read.range, read.into));
}

Outcome read_now(Shell& shell, const Read& read, const AlignedBuffer& memory) {
  const Stopwatch watch;
  const Result<void> done = read_from(shell, read);
  const auto elapsed = watch.elapsed();
  if (!done) {
    return shell.fail_with(fmt::format("{} failed: {}", read.command, failure_text(done.error())));
  }
  return handle_read(shell, read.handling, read.range, memory.bytes(), elapsed);
}

Outcome run_read(Shell& shell, Words words) {
  // -p is an old spelling that means nothing any more. -r asks for a registered buffer: requests
  // of this tool are served from any buffer alike.
  const auto letters = OptionLetters::parse(words, "bCl:pP:qrs:v");
  if (!letters || letters->operands().size() != 2) return shell.usage(words);
  if (!letters->has('P') && (letters->has('s') || letters->has('l'))) return shell.usage(words);

  const std::string_view length = letters->operands()[1];
  const auto range = shell.range(letters->operands()[0], length);
  if (!range) return Outcome::kFailed;
  if (range->length > kMaxRequest) {
    return shell.fail_with(fmt::format("length cannot exceed {}, given {}", kMaxRequest, length));
  }
  ReadHandling handling = read_handling(*letters);
  if (letters->has('P')) {
    handling.expected = expectation(shell, *letters, range->length);
    if (!handling.expected) return Outcome::kFailed;
  }
  if (letters->has('b') && !check_sectors(shell, *range)) return Outcome::kFailed;
  const auto memory = shell.buffer(range->length);
  if (!memory) return Outcome::kFailed;
  const auto from = letters->has('b') ? Read::From::kMachineStates : Read::From::kDisk;
  return read_now(shell, {"read", *range, memory->bytes(), handling, from}, *memory);
}

Outcome run_readv(Shell& shell, Words words) {
  const auto letters = OptionLetters::parse(words, "CP:qrv");
  if (!letters || letters->operands().size() < 2) return shell.usage(words);
  ReadHandling handling = read_handling(*letters);
  const auto pattern = letters->has('P') ? shell.pattern(*letters->value('P')) : std::byte{};
  if (!pattern) return Outcome::kFailed;
  const auto vectors = parse_vectors(shell, letters->operands());
  if (!vectors) return Outcome::kFailed;
  if (letters->has('P')) handling.expected = {*pattern, {0, vectors->total}};
  const auto memory = shell.buffer(vectors->total);
  if (!memory) return Outcome::kFailed;
  const auto pieces = split_buffer(memory->bytes(), vectors->lengths);
  const MutableBuffers into{std::span<const std::span<std::byte>>(pieces)};
  return read_now(shell, {"readv", vectors->range(), into, handling}, *memory);
}

constexpr std::string_view kReadDetails =
    "\n Reads LEN bytes from OFF and shows what that took.\n"
    " 'read -v 4k 1k' shows the second page's first kilobyte, too.\n\n"
    " -b      read from the area for machine states\n"
    " -C      show the figures as comma-separated values\n"
    " -l LEN  how much to compare with -P\n"
    " -p      has no meaning any more\n"
    " -P BYTE fail unless every byte read is BYTE\n"
    " -q      show nothing\n"
    " -r      read into a registered buffer\n"
    " -s OFF  where in the data to start comparing with -P\n"
    " -v      show the data\n\n";
constexpr std::string_view kReadvDetails =
    "\n Reads as 'read' does, into one buffer for each LEN.\n\n"
    " -C      show the figures as comma-separated values\n"
    " -P BYTE fail unless every byte read is BYTE\n"
    " -q      show nothing\n"
    " -r      read into registered buffers\n"
    " -v      show the data\n\n";

constexpr ShellCommand kCommands[] = {
    {.name = "read",
     .alias = "r",
     .arguments = {2, ShellCommand::kAnyNumber},
     .synopsis = "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
     .summary = "reads a number of bytes at a specified offset",
     .details = kReadDetails,
     .run = run_read},
    {.name = "readv",
     .arguments = {2, ShellCommand::kAnyNumber},
     .synopsis = "[-Cqrv] [-P pattern] off len [len..]",
     .summary = "reads a number of bytes at a specified offset",
     .details = kReadvDetails,
     .run = run_readv},
};

}  // namespace

std::span<const ShellCommand> read_commands() { return kCommands; }

}  // namespace ashlar::tools::io
