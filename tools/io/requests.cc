// What commands that read and write have in common.
#include "tools/io/requests.h"

#include <fmt/format.h>

namespace ashlar::tools::io {

ReportForm report_form(const OptionLetters& letters) {
  if (letters.has('q')) return ReportForm::kNone;
  return letters.has('C') ? ReportForm::kMachine : ReportForm::kHuman;
}

void print_report(Shell& shell, ReportForm form, const RequestReport& report) {
  if (form == ReportForm::kHuman) shell.out().write(human_report(report));
  if (form == ReportForm::kMachine) shell.out().write(machine_report(report));
}

ReadHandling read_handling(const OptionLetters& letters) {
  using enum ReadHandling::Dump;
  return {.expected = {}, .dump = letters.has('v') ? kYes : kNo, .form = report_form(letters)};
}

Outcome handle_read(Shell& shell, const ReadHandling& handling, ByteRange range,
                    std::span<const std::byte> bytes, std::chrono::nanoseconds elapsed) {
  Outcome outcome = Outcome::kDone;
  if (handling.expected) {
    const auto [offset, length] = handling.expected->window;
    if (!all_bytes_are(bytes.subspan(offset, length), handling.expected->pattern)) {
      shell.out().write(fmt::format("Pattern verification failed at offset {}, {} bytes\n",
                                    range.offset + offset, length));
      outcome = Outcome::kFailed;
    }
  }
  if (handling.form == ReportForm::kNone) return outcome;
  if (handling.dump == ReadHandling::Dump::kYes) shell.out().write(dump(bytes, range.offset));
  print_report(shell, handling.form, {"read", range.offset, range.length, elapsed});
  return outcome;
}

VmStateArea* machine_states(Shell& shell) {
  shell.wait_for_started();
  for (Node* node = shell.image().root(); node != nullptr; node = node->primary()) {
    if (VmStateArea* area = node->driver().vm_state()) return area;
  }
  return nullptr;
}

bool check_sectors(Shell& shell, ByteRange range) {
  constexpr uint64_t kSector = 512;
  const bool offset_fits = is_aligned(range.offset, kSector);
  if (offset_fits && is_aligned(range.length, kSector)) return true;
  shell.fail_with(fmt::format("{} is not a sector-aligned value for '{}'",
                              offset_fits ? range.length : range.offset,
                              offset_fits ? "count" : "offset"));
  return false;
}

std::optional<Vectors> parse_vectors(Shell& shell, std::span<const std::string_view> operands) {
  const std::optional<uint64_t> offset = shell.number(operands[0]);
  if (!offset) return std::nullopt;
  Vectors vectors{.offset = *offset, .lengths = {}, .total = 0};
  for (const std::string_view word : operands.subspan(1)) {
    const std::optional<uint64_t> length = shell.number(word);
    if (!length) return std::nullopt;
    if (*length > kMaxRequest) {
      shell.fail_with(fmt::format("Argument '{}' exceeds maximum size {}", word, kMaxRequest));
      return std::nullopt;
    }
    if (vectors.total > kMaxRequest - *length) {
      shell.fail_with(
          fmt::format("The total number of bytes exceed the maximum size {}", kMaxRequest));
      return std::nullopt;
    }
    vectors.lengths.push_back(*length);
    vectors.total += *length;
  }
  return vectors;
}

std::vector<std::span<std::byte>> split_buffer(std::span<std::byte> memory,
                                               std::span<const size_t> lengths) {
  std::vector<std::span<std::byte>> pieces;
  for (const size_t length : lengths) {
    pieces.push_back(memory.first(length));
    memory = memory.subspan(length);
  }
  return pieces;
}

}  // namespace ashlar::tools::io
