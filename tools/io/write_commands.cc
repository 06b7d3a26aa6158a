// Commands of the shell that write and wait: write, writev, discard.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "tools/io/commands.h"
#include "tools/io/requests.h"

namespace ashlar::tools::io {
namespace {

constexpr std::byte kDefaultPattern{0xcd};

Task<Result<void>> write_task(Backend& image, ByteRange range, ConstBuffers from,
                              WriteFlags flags) {
  co_return co_await image.write(range, from, flags);
}
Task<Result<void>> write_state_task(VmStateArea& area, ByteRange range, ConstBuffers from) {
  co_return co_await area.write_vm_state(range, from);
}
Task<Result<void>> write_zeroes_task(Backend& image, ByteRange range, ZeroFlags flags) {
  co_return co_await image.write_zeroes(range, flags);
}
Task<Result<void>> discard_task(Backend& image, ByteRange range) {
  co_return co_await image.discard(range);
}

/// What `write`'s letters must not say together; empty when they go together.
std::string_view contradiction(const OptionLetters& letters) {
  if (letters.has('b') && letters.has('z')) return "-b and -z cannot be specified at the same time";
  if (letters.has('f') && (letters.has('b') || letters.has('c'))) {
    return "-f and -b or -c cannot be specified at the same time";
  }
  if (letters.has('n') && !letters.has('z')) return "-n requires -z to be specified";
  if (letters.has('u') && !letters.has('z')) return "-u requires -z to be specified";
  if (letters.has('z') + letters.has('P') + letters.has('s') > 1) {
    return "Only one of -z, -P, and -s can be specified at the same time";
  }
  return {};
}

/// Fills `memory` with the contents of a file, over and over. Complains.
bool fill_from_file(Shell& shell, std::span<std::byte> memory, const std::string& name) {
  errno = 0;
  std::ifstream file(name, std::ios::binary);
  size_t filled = 0;
  if (file.is_open()) {
    file.read(reinterpret_cast<char*>(memory.data()), static_cast<std::streamsize>(memory.size()));
    filled = static_cast<size_t>(file.gcount());
  }
  if (!file.is_open() || file.bad()) {
    shell.program().note(fmt::format("{}: {}", name, std::strerror(errno != 0 ? errno : EIO)));
    return false;
  }
  if (filled == 0 && !memory.empty()) {
    shell.program().note(fmt::format("{}: file is empty", name));
    return false;
  }
  for (size_t at = filled; at < memory.size(); ++at) memory[at] = memory[at - filled];
  return true;
}

/// The bytes that `write` writes. Complains.
std::optional<AlignedBuffer> data_to_write(Shell& shell, const OptionLetters& letters,
                                           size_t length) {
  const auto pattern =
      letters.has('P') ? shell.pattern(*letters.value('P')) : std::optional(kDefaultPattern);
  if (!pattern) return std::nullopt;
  auto memory = shell.buffer(length);
  if (!memory) return std::nullopt;
  if (const auto name = letters.value('s')) {
    if (!fill_from_file(shell, memory->bytes(), std::string(*name))) return std::nullopt;
    return memory;
  }
  std::memset(memory->bytes().data(), static_cast<int>(*pattern), length);
  return memory;
}

/// Whether there is data, or room for it, in `range` of the image itself.
Task<Result<bool>> is_taken(Backend& image, ByteRange range) {
  while (!range.empty()) {
    const Result<Extent> extent = co_await image.status(range, 1);
    if (!extent) co_return fail(extent.error());
    if (extent->data || extent->compressed || extent->offset) co_return true;
    range = range.after(std::clamp<uint64_t>(extent->length, 1, range.length));
  }
  co_return false;
}

/// Compressed data goes only where nothing is: users of this tool count on that. Clusters that are
/// free are written also beside one that is not.
Task<Result<void>> write_compressed(Backend& image, ByteRange range, MutableBuffers from,
                                    WriteFlags flags) {
  const uint64_t unit = image.root()->info().cluster_size;
  const bool whole_end = unit != 0 && is_aligned(range.end(), unit);
  if (unit == 0 || !is_aligned(range.offset, unit) ||
      (!whole_end && range.end() != image.root()->size())) {
    co_return co_await image.write(range, from, flags);  // says what is wrong
  }
  Result<void> first = ok();
  for (ByteRange rest = range; !rest.empty();) {
    const ByteRange cluster = rest.first(std::min(rest.length, unit));
    rest = rest.after(cluster.length);
    const Result<bool> taken = co_await is_taken(image, cluster);
    Result<void> done = ok();
    if (!taken) {
      done = fail(taken.error());
    } else if (*taken) {
      done = fail(ErrorCode::kIo, fmt::format("there is data at 0x{:x} already", cluster.offset));
    } else {
      const ConstBuffers part = from.slice(cluster.offset - range.offset, cluster.length);
      done = co_await image.write(cluster, part, flags);
    }
    if (!done && first) first = done;
  }
  co_return first;
}

Result<void> write_with(Shell& shell, const OptionLetters& letters, ByteRange range,
                        const AlignedBuffer& memory) {
  if (letters.has('z')) {
    ZeroFlags flags;
    flags.may_unmap = letters.has('u');
    flags.no_fallback = letters.has('n');
    flags.fua = letters.has('f');
    return shell.wait(write_zeroes_task(shell.image(), range, flags));
  }
  if (letters.has('b')) {
    VmStateArea* area = machine_states(shell);
    if (area == nullptr) return fail(ErrorCode::kUnsupported, "no area for machine states");
    return shell.wait(write_state_task(*area, range, MutableBuffers(memory.bytes())));
  }
  WriteFlags flags;
  flags.fua = letters.has('f');
  flags.compressed = letters.has('c');
  if (flags.compressed) {
    const MutableBuffers from(memory.bytes());
    return shell.wait(write_compressed(shell.image(), range, from, flags));
  }
  return shell.wait(write_task(shell.image(), range, MutableBuffers(memory.bytes()), flags));
}

Outcome report_write(Shell& shell, ReportForm form, const RequestReport& report) {
  print_report(shell, form, report);
  return Outcome::kDone;
}

Outcome run_write(Shell& shell, Words words) {
  // -p and -r: see read.
  const auto letters = OptionLetters::parse(words, "bcCfnpP:qrs:uz");
  if (!letters || letters->operands().size() != 2) return shell.usage(words);
  const std::string_view wrong = contradiction(*letters);
  if (!wrong.empty()) return shell.fail_with(wrong);

  const std::string_view length = letters->operands()[1];
  const auto range = shell.range(letters->operands()[0], length);
  if (!range) return Outcome::kFailed;
  if (range->length > kMaxRequest && !letters->has('n')) {
    return shell.fail_with(
        fmt::format("length cannot exceed {} without -n, given {}", kMaxRequest, length));
  }
  const bool sectors = letters->has('b') || letters->has('c');
  if (sectors && !check_sectors(shell, *range)) return Outcome::kFailed;
  const auto memory = data_to_write(shell, *letters, letters->has('z') ? 0 : range->length);
  if (!memory) return Outcome::kFailed;

  const Stopwatch watch;
  const Result<void> done = write_with(shell, *letters, *range, *memory);
  const auto elapsed = watch.elapsed();
  if (!done) return shell.fail_with(fmt::format("write failed: {}", failure_text(done.error())));
  return report_write(shell, report_form(*letters),
                      {"wrote", range->offset, range->length, elapsed});
}

Outcome run_writev(Shell& shell, Words words) {
  const auto letters = OptionLetters::parse(words, "CfP:qr");
  if (!letters || letters->operands().size() < 2) return shell.usage(words);
  const auto pattern =
      letters->has('P') ? shell.pattern(*letters->value('P')) : std::optional(kDefaultPattern);
  if (!pattern) return Outcome::kFailed;
  const auto vectors = parse_vectors(shell, letters->operands());
  if (!vectors) return Outcome::kFailed;
  const auto memory = shell.buffer(vectors->total);
  if (!memory) return Outcome::kFailed;
  std::memset(memory->bytes().data(), static_cast<int>(*pattern), vectors->total);
  const auto pieces = split_buffer(memory->bytes(), vectors->lengths);
  const MutableBuffers from{std::span<const std::span<std::byte>>(pieces)};

  const Stopwatch watch;
  WriteFlags flags;
  flags.fua = letters->has('f');
  const Result<void> done = shell.wait(write_task(shell.image(), vectors->range(), from, flags));
  const auto elapsed = watch.elapsed();
  if (!done) return shell.fail_with(fmt::format("writev failed: {}", failure_text(done.error())));
  return report_write(shell, report_form(*letters),
                      {"wrote", vectors->offset, vectors->total, elapsed});
}

Outcome run_discard(Shell& shell, Words words) {
  const auto letters = OptionLetters::parse(words, "Cq");
  if (!letters || letters->operands().size() != 2) return shell.usage(words);
  const std::string_view length = letters->operands()[1];
  const auto range = shell.range(letters->operands()[0], length);
  if (!range) return Outcome::kFailed;
  if (range->length > kMaxRequest) {
    return shell.fail_with(fmt::format("length cannot exceed {}, given {}", kMaxRequest, length));
  }
  const Stopwatch watch;
  const Result<void> done = shell.wait(discard_task(shell.image(), *range));
  const auto elapsed = watch.elapsed();
  if (!done) return shell.fail_with(fmt::format("discard failed: {}", failure_text(done.error())));
  return report_write(shell, report_form(*letters),
                      {"discard", range->offset, range->length, elapsed});
}

constexpr std::string_view kWriteDetails =
    "\n Writes LEN bytes at OFF, all 0xcd unless told otherwise.\n"
    " 'write -P 7 4k 1k' writes a kilobyte of sevens at the second page.\n\n"
    " -b      write to the area for machine states\n"
    " -c      store the data compressed\n"
    " -C      show the figures as comma-separated values\n"
    " -f      be done only when the data is durable\n"
    " -n      with -z: fail rather than write zeroes as data\n"
    " -p      has no meaning any more\n"
    " -P BYTE write that byte\n"
    " -q      show nothing\n"
    " -r      write from a registered buffer\n"
    " -s FILE write what is in FILE, over and over\n"
    " -u      with -z: space may be given back\n"
    " -z      write zeroes without sending data\n\n";
constexpr std::string_view kWritevDetails =
    "\n Writes as 'write' does, from one buffer for each LEN.\n\n"
    " -C      show the figures as comma-separated values\n"
    " -f      be done only when the data is durable\n"
    " -P BYTE write that byte\n"
    " -q      show nothing\n"
    " -r      write from registered buffers\n\n";
constexpr std::string_view kDiscardDetails =
    "\n Tells the image that LEN bytes from OFF are not needed.\n\n"
    " -C      show the figures as comma-separated values\n"
    " -q      show nothing\n\n";

constexpr auto kWrites = ShellCommand::Needs::kWritableImage;
constexpr ShellCommand kCommands[] = {
    {.name = "write",
     .alias = "w",
     .arguments = {2, ShellCommand::kAnyNumber},
     .synopsis = "[-bcCfnqruz] [-P pattern | -s source_file] off len",
     .summary = "writes a number of bytes at a specified offset",
     .details = kWriteDetails,
     .needs = kWrites,
     .run = run_write},
    {.name = "writev",
     .arguments = {2, ShellCommand::kAnyNumber},
     .synopsis = "[-Cfqr] [-P pattern] off len [len..]",
     .summary = "writes a number of bytes at a specified offset",
     .details = kWritevDetails,
     .needs = kWrites,
     .run = run_writev},
    {.name = "discard",
     .alias = "d",
     .arguments = {2, ShellCommand::kAnyNumber},
     .synopsis = "[-Cq] off len",
     .summary = "discards a number of bytes at a specified offset",
     .details = kDiscardDetails,
     .needs = kWrites,
     .run = run_discard},
};

}  // namespace

std::span<const ShellCommand> write_commands() { return kCommands; }

}  // namespace ashlar::tools::io
