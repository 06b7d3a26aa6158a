// Commands of the shell about the image as a device: length, info, truncate, flush, alloc, map.
#include <fmt/format.h>

#include <algorithm>

#include "ashlar/node.h"
#include "tools/common/image_report.h"
#include "tools/common/peer_text.h"
#include "tools/common/size_text.h"
#include "tools/io/commands.h"
#include "tools/io/option_letters.h"

namespace ashlar::tools::io {
namespace {

Task<Result<void>> flush_task(Backend& image) { co_return co_await image.flush(); }
Task<Result<void>> resize_task(Backend& image, uint64_t size, ResizeFlags flags) {
  co_return co_await image.resize(size, flags);
}

Outcome run_length(Shell& shell, Words) {
  const Result<uint64_t> size = shell.image().size();
  if (!size) return shell.fail_with(fmt::format("getlength: {}", failure_text(size.error())));
  shell.out().write(io_size(*size) + "\n");
  return Outcome::kDone;
}

Outcome run_info(Shell& shell, Words) {
  const Node& node = shell.node();
  const ImageInfo info = node.driver().describe();
  std::string text = fmt::format("format name: {}\ncluster size: {}\n", node.spec().name,
                                 io_size(info.cluster_size));
  if (VmStateArea* area = node.driver().vm_state()) {
    text += fmt::format("vm state offset: {}\n", io_size(area->vm_state_offset()));
  }
  append_specific(text, info, 0);
  shell.out().write(text);
  return Outcome::kDone;
}

std::optional<Preallocation> preallocation_mode(Shell& shell, std::string_view name) {
  struct Row {
    std::string_view name;
    Preallocation mode;
  };
  using enum Preallocation;
  static constexpr Row kModes[] = {
      {"off", kOff}, {"metadata", kMetadata}, {"falloc", kFalloc}, {"full", kFull}};
  const auto found = std::ranges::find(kModes, name, &Row::name);
  if (found != std::end(kModes)) return found->mode;
  shell.program().error(fmt::format("Invalid preallocation mode '{}'", name));
  return std::nullopt;
}

Outcome run_truncate(Shell& shell, Words words) {
  const auto letters = OptionLetters::parse(words, "m:");
  if (!letters || letters->operands().size() != 1) return shell.usage(words);
  const auto mode = preallocation_mode(shell, letters->value('m').value_or("off"));
  if (!mode) return Outcome::kFailed;
  const auto size = shell.number(letters->operands()[0]);
  if (!size) return Outcome::kFailed;
  ResizeFlags flags;
  flags.preallocation = *mode;
  const Result<void> done = shell.wait(resize_task(shell.image(), *size, flags));
  if (done) return Outcome::kDone;
  shell.program().error(peer_text(done.error()));
  return Outcome::kFailed;
}

Outcome run_flush(Shell& shell, Words) {
  const Result<void> done = shell.wait(flush_task(shell.image()));
  if (done) return Outcome::kDone;
  return shell.fail_with(fmt::format("flush failed: {}", failure_text(done.error())));
}

/// A run of bytes that the top layer has, or does not have.
struct Allocated {
  uint64_t length = 0;
  bool present = false;
};

/// What the top layer says about the start of `range`, as far as it stays the same.
Task<Result<Allocated>> allocated_run(Backend& image, ByteRange range) {
  Allocated run;
  while (run.length < range.length) {
    const Result<Extent> extent = co_await image.status(range.after(run.length), 1);
    if (!extent) co_return fail(extent.error());
    if (extent->length == 0) break;
    if (run.length != 0 && extent->present != run.present) break;
    run.present = extent->present;
    run.length += std::min(extent->length, range.length - run.length);
  }
  if (run.length == 0)
    co_return fail(ErrorCode::kIo, fmt::format("no status at {:#x}", range.offset));
  co_return run;
}

Outcome run_alloc(Shell& shell, Words words) {
  constexpr uint64_t kDefaultLength = 512;
  const auto offset = shell.number(words[1]);
  if (!offset) return Outcome::kFailed;
  const auto length = words.size() > 2 ? shell.number(words[2]) : kDefaultLength;
  if (!length) return Outcome::kFailed;
  const Result<uint64_t> size = shell.image().size();
  if (!size) return shell.fail_with(fmt::format("getlength: {}", failure_text(size.error())));

  const uint64_t inside = *offset < *size ? std::min(*length, *size - *offset) : 0;
  ByteRange rest{*offset, inside};
  uint64_t present = 0;
  while (!rest.empty()) {
    const Result<Allocated> run = shell.wait(allocated_run(shell.image(), rest));
    if (!run) {
      return shell.fail_with(fmt::format("is_allocated failed: {}", failure_text(run.error())));
    }
    if (run->present) present += run->length;
    rest = rest.after(run->length);
  }
  shell.out().write(
      fmt::format("{}/{} bytes allocated at offset {}\n", present, inside, io_size(*offset)));
  return Outcome::kDone;
}

Outcome run_map(Shell& shell, Words) {
  const Result<uint64_t> size = shell.image().size();
  if (!size)
    return shell.fail_with(
        fmt::format("Failed to query image length: {}", failure_text(size.error())));
  ByteRange rest{0, *size};
  while (!rest.empty()) {
    const Result<Allocated> run = shell.wait(allocated_run(shell.image(), rest));
    if (!run) {
      return shell.fail_with(
          fmt::format("Failed to get allocation status: {}", failure_text(run.error())));
    }
    shell.out().write(fmt::format("{} ({:#x}) bytes {} allocated at offset {} ({:#x})\n",
                                  io_size(run->length), run->length, run->present ? "   " : "not",
                                  io_size(rest.offset), rest.offset));
    rest = rest.after(run->length);
  }
  return Outcome::kDone;
}

constexpr ShellCommand kCommands[] = {
    {.name = "length",
     .alias = "l",
     .summary = "gets the length of the current file",
     .run = run_length},
    {.name = "info",
     .alias = "i",
     .summary = "prints information about the current file",
     .run = run_info},
    {.name = "truncate",
     .alias = "t",
     .arguments = {1, 3},
     .synopsis = "[-m prealloc_mode] off",
     .summary = "truncates the current file at the given offset",
     .needs = ShellCommand::Needs::kWritableImage,
     .run = run_truncate},
    {.name = "flush",
     .alias = "f",
     .summary = "flush all in-core file state to disk",
     .run = run_flush},
    {.name = "alloc",
     .arguments = {1, 2},
     .synopsis = "offset [count]",
     .summary = "checks if offset is allocated in the file",
     .run = run_alloc},
    {.name = "map", .summary = "prints the allocated areas of a file", .run = run_map},
};

}  // namespace

std::span<const ShellCommand> device_commands() { return kCommands; }

}  // namespace ashlar::tools::io
