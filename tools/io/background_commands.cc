// Commands of the shell whose requests go on in the background, and the one that waits for them.
#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <utility>

#include "tools/io/commands.h"
#include "tools/io/requests.h"

namespace ashlar::tools::io {
namespace {

constexpr std::byte kDefaultPattern{0xcd};

/// A request in flight and the memory it works on; lives in its coroutine.
struct Background {
  AlignedBuffer memory;
  std::vector<std::span<std::byte>> pieces;
  ByteRange range;

  Background(AlignedBuffer bytes, const Vectors& vectors)
      : memory(std::move(bytes)),
        pieces(split_buffer(memory.bytes(), vectors.lengths)),
        range(vectors.range()) {}
  MutableBuffers buffers() const {
    return MutableBuffers{std::span<const std::span<std::byte>>(pieces)};
  }
};

Task<void> read_in_background(Shell& shell, Background request, ReadHandling handling) {
  const Stopwatch watch;
  const Result<void> done = co_await shell.image().read(request.range, request.buffers());
  if (!done) {
    shell.fail_with(fmt::format("readv failed: {}", failure_text(done.error())));
    co_return;
  }
  // What came of it is printed; it cannot be the command's outcome, which was given long ago.
  (void)handle_read(shell, handling, request.range, request.memory.bytes(), watch.elapsed());
}

/// How a background write is done and reported.
struct WriteHandling {
  WriteFlags flags;
  ReportForm form = ReportForm::kHuman;
};

void report_write(Shell& shell, ByteRange range, ReportForm form, const Result<void>& done,
                  std::chrono::nanoseconds elapsed) {
  if (done) {
    print_report(shell, form, {"wrote", range.offset, range.length, elapsed});
  } else {
    shell.fail_with(fmt::format("aio_write failed: {}", failure_text(done.error())));
  }
}

Task<void> write_in_background(Shell& shell, Background request, WriteHandling handling) {
  const Stopwatch watch;
  const Result<void> done =
      co_await shell.image().write(request.range, request.buffers(), handling.flags);
  report_write(shell, request.range, handling.form, done, watch.elapsed());
}

Task<void> write_zeroes_in_background(Shell& shell, ByteRange range, ZeroFlags flags,
                                      ReportForm form) {
  const Stopwatch watch;
  const Result<void> done = co_await shell.image().write_zeroes(range, flags);
  report_write(shell, range, form, done, watch.elapsed());
}

Task<void> discard_in_background(Shell& shell, ByteRange range, ReportForm form) {
  const Stopwatch watch;
  const Result<void> done = co_await shell.image().discard(range);
  if (!done) {
    shell.fail_with(fmt::format("aio_discard failed: {}", failure_text(done.error())));
    co_return;
  }
  print_report(shell, form, {"discard", range.offset, range.length, watch.elapsed()});
}

Outcome run_aio_read(Shell& shell, Words words) {
  const auto letters = OptionLetters::parse(words, "CiP:qrv");
  if (!letters || letters->operands().size() < 2) return shell.usage(words);
  const auto pattern = letters->has('P') ? shell.pattern(*letters->value('P')) : std::byte{};
  if (!pattern) return Outcome::kFailed;
  if (letters->has('i')) {
    shell.out().write("injecting invalid read request\n");
    return Outcome::kDone;
  }
  const auto vectors = parse_vectors(shell, letters->operands());
  if (!vectors) return Outcome::kFailed;
  ReadHandling handling = read_handling(*letters);
  if (letters->has('P')) handling.expected = {*pattern, {0, vectors->total}};
  auto memory = shell.buffer(vectors->total);
  if (!memory) return Outcome::kFailed;
  Background request(std::move(*memory), *vectors);
  shell.start(read_in_background(shell, std::move(request), handling));
  return Outcome::kDone;
}

Outcome run_aio_write(Shell& shell, Words words) {
  const auto letters = OptionLetters::parse(words, "CfiP:qruz");
  if (!letters || letters->operands().size() < 2) return shell.usage(words);
  const auto pattern =
      letters->has('P') ? shell.pattern(*letters->value('P')) : std::optional(kDefaultPattern);
  if (!pattern) return Outcome::kFailed;
  if (letters->has('z') && letters->operands().size() != 2) {
    return shell.fail_with("-z supports only a single length parameter");
  }
  if (letters->has('u') && !letters->has('z')) {
    return shell.fail_with("-u requires -z to be specified");
  }
  if (letters->has('i')) {
    shell.out().write("injecting invalid write request\n");
    return Outcome::kDone;
  }
  const ReportForm form = report_form(*letters);
  if (letters->has('z')) {
    const auto range = shell.range(letters->operands()[0], letters->operands()[1]);
    if (!range) return Outcome::kFailed;
    ZeroFlags flags;
    flags.may_unmap = letters->has('u');
    flags.fua = letters->has('f');
    shell.start(write_zeroes_in_background(shell, *range, flags, form));
    return Outcome::kDone;
  }
  const auto vectors = parse_vectors(shell, letters->operands());
  if (!vectors) return Outcome::kFailed;
  auto memory = shell.buffer(vectors->total);
  if (!memory) return Outcome::kFailed;
  std::memset(memory->bytes().data(), static_cast<int>(*pattern), vectors->total);
  Background request(std::move(*memory), *vectors);
  WriteHandling handling;
  handling.flags.fua = letters->has('f');
  handling.form = form;
  shell.start(write_in_background(shell, std::move(request), handling));
  return Outcome::kDone;
}

Outcome run_aio_discard(Shell& shell, Words words) {
  const auto letters = OptionLetters::parse(words, "Cq");
  if (!letters || letters->operands().size() != 2) return shell.usage(words);
  const auto range = shell.range(letters->operands()[0], letters->operands()[1]);
  if (!range) return Outcome::kFailed;
  shell.start(discard_in_background(shell, *range, report_form(*letters)));
  return Outcome::kDone;
}

Outcome run_aio_flush(Shell& shell, Words) {
  shell.wait_for_started();
  return Outcome::kDone;
}

constexpr std::string_view kReadDetails =
    "\n Starts a read as 'readv' does it and comes back at once. What came of it is shown when it\n"
    " is done, at the latest by 'aio_flush'; it does not make the tool fail.\n\n"
    " -C      show the figures as comma-separated values\n"
    " -i      make up an invalid request: nothing is read\n"
    " -P BYTE say so unless every byte read is BYTE\n"
    " -q      show nothing\n"
    " -r      read into registered buffers\n"
    " -v      show the data\n\n";
constexpr std::string_view kWriteDetails =
    "\n Starts a write as 'writev' does it and comes back at once. What came of it is shown when "
    "it\n"
    " is done, at the latest by 'aio_flush'; it does not make the tool fail.\n\n"
    " -C      show the figures as comma-separated values\n"
    " -f      be done only when the data is durable\n"
    " -i      make up an invalid request: nothing is written\n"
    " -P BYTE write that byte; the default is 0xcd\n"
    " -q      show nothing\n"
    " -r      write from registered buffers\n"
    " -u      with -z: space may be given back\n"
    " -z      write zeroes without sending data\n\n";

constexpr auto kWrites = ShellCommand::Needs::kWritableImage;
constexpr ShellCommand kCommands[] = {
    {.name = "aio_read",
     .arguments = {2, ShellCommand::kAnyNumber},
     .synopsis = "[-Ciqrv] [-P pattern] off len [len..]",
     .summary = "asynchronously reads a number of bytes",
     .details = kReadDetails,
     .run = run_aio_read},
    {.name = "aio_write",
     .arguments = {2, ShellCommand::kAnyNumber},
     .synopsis = "[-Cfiqruz] [-P pattern] off len [len..]",
     .summary = "asynchronously writes a number of bytes",
     .details = kWriteDetails,
     .needs = kWrites,
     .run = run_aio_write},
    {.name = "aio_discard",
     .arguments = {2, ShellCommand::kAnyNumber},
     .synopsis = "[-Cq] off len",
     .summary = "asynchronously discards a number of bytes",
     .needs = kWrites,
     .run = run_aio_discard},
    {.name = "aio_flush",
     .summary = "completes all outstanding aio requests",
     .run = run_aio_flush},
};

}  // namespace

std::span<const ShellCommand> background_commands() { return kCommands; }

}  // namespace ashlar::tools::io
