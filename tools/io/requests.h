// Requests of the shell: what read and write commands, awaited or in the background, have in
// common.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "ashlar/vm_state.h"
#include "tools/io/option_letters.h"
#include "tools/io/report.h"
#include "tools/io/shell.h"

namespace ashlar::tools::io {

/// What is printed of a finished request.
enum class ReportForm : uint8_t { kHuman, kMachine, kNone };
/// From -q and -C.
ReportForm report_form(const OptionLetters& letters);

void print_report(Shell& shell, ReportForm form, const RequestReport& report);

/// Bytes that a read must give.
struct Expectation {
  std::byte pattern{};
  ByteRange window;  ///< in the buffer
};

/// What happens with what was read.
struct ReadHandling {
  std::optional<Expectation> expected;
  enum class Dump : uint8_t { kNo, kYes } dump = Dump::kNo;
  ReportForm form = ReportForm::kHuman;
};

/// From -q, -C and -v.
ReadHandling read_handling(const OptionLetters& letters);

/// Checks and prints what was read. Failed when it is not what was expected.
Outcome handle_read(Shell& shell, const ReadHandling& handling, ByteRange range,
                    std::span<const std::byte> bytes, std::chrono::nanoseconds elapsed);

/// Time that a request takes.
class Stopwatch {
 public:
  std::chrono::nanoseconds elapsed() const { return std::chrono::steady_clock::now() - start_; }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Complains unless `range` is made of whole 512-byte sectors.
bool check_sectors(Shell& shell, ByteRange range);

/// Where the image, or what it passes requests on to, keeps states of machines; null: nowhere.
VmStateArea* machine_states(Shell& shell);

/// A range in several pieces of one buffer.
struct Vectors {
  uint64_t offset = 0;
  std::vector<size_t> lengths;
  size_t total = 0;

  ByteRange range() const { return {offset, total}; }
};
/// From the operands: an offset and the lengths. Complains.
std::optional<Vectors> parse_vectors(Shell& shell, std::span<const std::string_view> operands);

/// The pieces of `memory` that `lengths` describes.
std::vector<std::span<std::byte>> split_buffer(std::span<std::byte> memory,
                                               std::span<const size_t> lengths);

}  // namespace ashlar::tools::io
