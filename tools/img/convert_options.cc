// Options of img convert: rows, reading, contradictions.
#include "tools/img/convert_options.h"

#include <fmt/format.h>

#include "ashlar/options.h"
#include "tools/common/create_options.h"
#include "tools/common/image_arguments.h"
#include "tools/common/peer_text.h"
#include "tools/common/size_text.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr uint64_t kMaxSparse = 16_MiB;
constexpr uint64_t kMaxWorkers = 16;

constexpr OptionRow kSourceCacheRow{.name = "source-cache",
                                    .letter = 'T',
                                    .value = "MODE",
                                    .help = "cache mode for reading; default: writeback"};
constexpr OptionRow kSnapshotRow{.name = "snapshot",
                                 .letter = 'l',
                                 .value = "SNAPSHOT",
                                 .help =
                                     "convert that internal snapshot: an ID, a name, or "
                                     "snapshot.id=ID,snapshot.name=NAME"};
constexpr OptionRow kBitmapsRow{.name = "bitmaps", .help = "copy persistent bitmaps, too"};
constexpr OptionRow kSkipBrokenRow{.name = "skip-broken-bitmaps",
                                   .help = "with --bitmaps: leave out those in use"};
constexpr OptionRow kSalvageRow{.name = "salvage", .help = "what cannot be read becomes zeroes"};
constexpr OptionRow kTargetFormatRow{.name = "target-format",
                                     .letter = 'O',
                                     .value = "FMT",
                                     .help = "format to write; default: raw"};
constexpr OptionRow kTargetOptsRow{.name = "target-image-opts",
                                   .help = "treat TARGET as options; needs -n"};
constexpr OptionRow kListRow{.name = "options",
                             .letter = 'o',
                             .value = "LIST",
                             .help = "options of the new image: key=value,... or help"};
constexpr OptionRow kTargetCacheRow{.name = "target-cache",
                                    .letter = 't',
                                    .value = "MODE",
                                    .help = "cache mode for writing; default: unsafe"};
constexpr OptionRow kBackingRow{.name = "backing",
                                .letter = 'B',
                                .value = "FILE",
                                .help =
                                    "make the target an overlay of FILE: write only what "
                                    "the source has above it"};
constexpr OptionRow kBackingFormatRow{
    .name = "backing-format", .letter = 'F', .value = "FMT", .help = "format of that"};
constexpr OptionRow kSparseRow{
    .name = "sparse-size",
    .letter = 'S',
    .value = "SIZE",
    .help = "leave out runs of at least SIZE zeroes; default: 4k, 0: write all"};
constexpr OptionRow kNoCreateRow{
    .name = "no-create", .letter = 'n', .help = "write to an existing image"};
constexpr OptionRow kTargetZeroRow{.name = "target-is-zero",
                                   .help = "the existing image reads as zeroes; needs -n"};
constexpr OptionRow kCompressRow{.name = "compress", .letter = 'c', .help = "compress"};
constexpr OptionRow kRateRow{.name = "rate-limit",
                             .letter = 'r',
                             .value = "RATE",
                             .help = "copy at most so many bytes per second"};
constexpr OptionRow kParallelRow{.name = "parallel",
                                 .letter = 'm',
                                 .value = "N",
                                 .help = "pieces in flight, 1 to 16; default: 8"};
constexpr OptionRow kAnyOrderRow{
    .name = "oob-writes", .letter = 'W', .help = "write pieces in any order"};
constexpr OptionRow kOffloadRow{
    .name = "copy-range-offloading", .letter = 'C', .help = "let the kernel copy where it can"};

constexpr OptionRow kRows[] = {
    kFormatRow,
    {.name = "source-format", .value = "FMT", .same_as = kFormatRow.name},
    kImageOptsRow,
    kSourceCacheRow,
    kSnapshotRow,
    kBitmapsRow,
    kSkipBrokenRow,
    kSalvageRow,
    kTargetFormatRow,
    kTargetOptsRow,
    kListRow,
    {.name = "target-format-options", .value = "LIST", .same_as = kListRow.name},
    kTargetCacheRow,
    kBackingRow,
    {.name = "", .letter = 'b', .value = "FILE", .same_as = kBackingRow.name},
    kBackingFormatRow,
    kSparseRow,
    kNoCreateRow,
    kTargetZeroRow,
    kCompressRow,
    kRateRow,
    kParallelRow,
    kAnyOrderRow,
    kOffloadRow,
    kForceShareRow,
    kProgressRow,
    kQuietRow,
    kObjectRow,
    kUntrustedRow,
};

/// Reads the arguments step by step; each step complains and returns whether to go on.
class Reader {
 public:
  Reader(Program& program, const Arguments& arguments) : program_(program), arguments_(arguments) {}

  std::optional<ConvertOptions> read() {
    take_texts();
    const bool good = read_sparse() && read_parallel() && read_rate() && read_snapshot() &&
                      check_lists() && take_choices() && check_combinations() && take_names();
    return good ? std::optional(std::move(options_)) : std::nullopt;
  }

 private:
  bool has(const OptionRow& row) const { return arguments_.has(row.name); }
  bool complain(std::string_view text) const {
    program_.error(text);
    return false;
  }

  void take_texts() {
    const auto take = [this](const OptionRow& row, auto& into) {
      if (const auto value = arguments_.value(row.name)) into = std::string(*value);
    };
    take(kSourceCacheRow, options_.source_cache);
    take(kTargetCacheRow, options_.target_cache);
    take(kTargetFormatRow, options_.target_format);
    take(kBackingRow, options_.backing_file);
    take(kBackingFormatRow, options_.backing_format);
    options_.create_lists = arguments_.values(kListRow.name);
  }

  bool read_sparse() {
    const auto text = arguments_.value(kSparseRow.name);
    if (!text) return true;
    const auto size = size_argument(program_, "buffer size for sparse output", *text);
    if (!size) return false;
    if (*size > kMaxSparse || !is_aligned(*size, CopySource::kSector)) {
      return complain(
          fmt::format("Invalid buffer size for sparse output specified. Valid sizes are multiples "
                      "of {} up to {}. Select 0 to disable sparse detection (fully allocates "
                      "output).",
                      CopySource::kSector, kMaxSparse));
    }
    options_.copy.zero_block = *size;
    return true;
  }

  bool read_parallel() {
    const auto text = arguments_.value(kParallelRow.name);
    if (!text) return true;
    const Result<uint64_t> count = parse_number(*text);
    if (!count || *count < 1 || *count > kMaxWorkers) {
      return complain(
          fmt::format("Invalid number of coroutines. Allowed number of coroutines is between 1 "
                      "and {}",
                      kMaxWorkers));
    }
    options_.copy.workers = static_cast<unsigned>(*count);
    return true;
  }

  bool read_rate() {
    const auto text = arguments_.value(kRateRow.name);
    if (!text) return true;
    const auto rate = size_argument(program_, "rate limit", *text);
    if (rate) options_.copy.bytes_per_second = *rate;
    return rate.has_value();
  }

  bool read_snapshot() {
    const auto text = arguments_.value(kSnapshotRow.name);
    if (!text) return true;
    options_.snapshot = snapshot_argument(program_, *text);
    return options_.snapshot.has_value();
  }

  bool check_lists() {
    for (const std::string_view list : options_.create_lists) {
      const Result<void> good = check_option_list(list);
      if (!good) return complain(peer_text(good.error()));
    }
    return true;
  }

  bool take_choices() {
    using Options = ConvertOptions;
    if (has(kCompressRow)) options_.copy.store = CopySettings::Store::kCompressed;
    if (has(kAnyOrderRow)) options_.copy.order = CopySettings::Order::kAny;
    if (has(kSalvageRow)) options_.copy.read_errors = CopySettings::ReadErrors::kZeroes;
    if (has(kOffloadRow)) options_.way = Options::Way::kOffload;
    if (has(kTargetZeroRow)) options_.contents = Options::Contents::kZeroes;
    if (has(kNoCreateRow)) {
      options_.how =
          has(kTargetOptsRow) ? Options::Target::kExistingByOptions : Options::Target::kExisting;
    }
    if (has(kBitmapsRow)) {
      options_.bitmaps =
          has(kSkipBrokenRow) ? Options::Bitmaps::kCopySound : Options::Bitmaps::kCopy;
    }
    return true;
  }

  bool check_combinations() const {
    if (has(kSkipBrokenRow) && !has(kBitmapsRow)) {
      return complain("Use of --skip-broken-bitmaps requires --bitmaps");
    }
    if (has(kTargetOptsRow) && !has(kNoCreateRow)) {
      return complain("--target-image-opts requires use of -n flag");
    }
    if (has(kTargetZeroRow) && !has(kNoCreateRow)) {
      return complain("--target-is-zero requires use of -n flag");
    }
    if (has(kNoCreateRow) && !options_.create_lists.empty()) {
      return complain("-o has no effect when skipping image creation");
    }
    if (has(kImageOptsRow) && has(kFormatRow)) {
      return complain("--image-opts and --format are mutually exclusive");
    }
    return check_offload();
  }

  bool check_offload() const {
    if (!has(kOffloadRow)) return true;
    if (has(kSparseRow)) return complain("Cannot enable copy offloading when -S is used");
    if (has(kCompressRow)) return complain("Cannot enable copy offloading when -c is used");
    if (has(kSalvageRow)) return complain("Cannot use copy offloading in salvaging mode");
    return true;
  }

  bool take_names() {
    const auto operands = arguments_.operands();
    if (operands.size() < 2) return complain("Must specify image file name");
    options_.sources.assign(operands.begin(), operands.end() - 1);
    options_.target = std::string(operands.back());
    if (options_.sources.size() > 1 && options_.snapshot) {
      return complain("No support for concatenating multiple snapshot");
    }
    return true;
  }

  Program& program_;
  const Arguments& arguments_;
  ConvertOptions options_;
};

}  // namespace

std::optional<ConvertOptions> parse_convert_options(Program& program, const Arguments& arguments) {
  return Reader(program, arguments).read();
}

std::optional<OptionHelpWish> wished_option_help(const Arguments& arguments) {
  if (!asks_for_option_help(arguments.values(kListRow.name))) return std::nullopt;
  const auto operands = arguments.operands();
  return OptionHelpWish{
      .format = std::string(arguments.value(kTargetFormatRow.name).value_or("raw")),
      .target = operands.size() < 2 ? std::string() : std::string(operands.back())};
}

constinit const Command kConvertCommand{.name = "convert",
                                        .operands = "SOURCE... TARGET",
                                        .summary = "copy images into another format",
                                        .options = kRows,
                                        .run = run_convert};

}  // namespace ashlar::tools
