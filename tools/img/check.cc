// img check: is an image consistent, and can it be made so?
#include <fmt/format.h>

#include <cstring>
#include <string>

#include "tools/common/image_arguments.h"
#include "tools/common/json_writer.h"
#include "tools/common/peer_text.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr int kCorrupt = 2;
constexpr int kLeaks = 3;
constexpr int kNoChecks = 63;

constexpr OptionRow kRepairRow{.name = "repair",
                               .letter = 'r',
                               .value = "WHAT",
                               .help = "repair leaks, or all: everything that can be"};
constexpr OptionRow kCacheRow{
    .name = "cache", .letter = 'T', .value = "MODE", .help = "cache mode; default: writeback"};
constexpr OptionRow kOptions[] = {kFormatRow, kImageOptsRow,  kCacheRow,
                                  kRepairRow, kForceShareRow, kOutputRow,
                                  kQuietRow,  kObjectRow,     kUntrustedRow};

/// What was found, in the image as it was left, with what was repaired before.
struct Outcome {
  std::string filename;
  std::string format;
  CheckReport report;
};

Task<Result<CheckReport>> check_task(Driver& driver, const CheckOptions& options) {
  co_return co_await driver.check(options);
}

std::string fixed_text(const CheckReport& report) {
  return fmt::format(
      "The following inconsistencies were found and repaired:\n\n"
      "    {} leaked clusters\n    {} corruptions\n\n"
      "Double checking the fixed image now...\n",
      report.leaks_fixed, report.corruptions_fixed);
}

std::string human_text(const CheckReport& report) {
  std::string text;
  if (report.corruptions == 0 && report.leaks == 0 && report.check_errors == 0) {
    text += "No errors were found on the image.\n";
  }
  if (report.corruptions != 0) {
    text += fmt::format(
        "\n{} errors were found on the image.\n"
        "Data may be corrupted, or further writes to the image may corrupt it.\n",
        report.corruptions);
  }
  if (report.leaks != 0) {
    text += fmt::format(
        "\n{} leaked clusters were found on the image.\n"
        "This means waste of disk space, but no harm to data.\n",
        report.leaks);
  }
  if (report.check_errors != 0) {
    text +=
        fmt::format("\n{} internal errors have occurred during the check.\n", report.check_errors);
  }
  if (report.total_clusters != 0 && report.allocated_clusters != 0) {
    const auto percent = [](uint64_t part, uint64_t whole) {
      return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
    };
    text +=
        fmt::format("{}/{} = {:.2f}% allocated, {:.2f}% fragmented, {:.2f}% compressed clusters\n",
                    report.allocated_clusters, report.total_clusters,
                    percent(report.allocated_clusters, report.total_clusters),
                    percent(report.fragmented_clusters, report.allocated_clusters),
                    percent(report.compressed_clusters, report.allocated_clusters));
  }
  if (report.image_end_offset != 0) {
    text += fmt::format("Image end offset: {}\n", report.image_end_offset);
  }
  return text;
}

// The order of members is the peer's; numbers that are zero are left out.
std::string json_text(const Outcome& outcome) {
  std::string text;
  JsonWriter json(text);
  const auto unless_zero = [&json](std::string_view name, uint64_t value) {
    if (value != 0) json.member(name, value);
  };
  const CheckReport& report = outcome.report;
  json.begin_object();
  unless_zero("image-end-offset", report.image_end_offset);
  unless_zero("compressed-clusters", report.compressed_clusters);
  unless_zero("total-clusters", report.total_clusters);
  unless_zero("corruptions-fixed", report.corruptions_fixed);
  unless_zero("corruptions", report.corruptions);
  json.member("check-errors", report.check_errors);
  unless_zero("leaks-fixed", report.leaks_fixed);
  unless_zero("leaks", report.leaks);
  unless_zero("allocated-clusters", report.allocated_clusters);
  json.member("filename", outcome.filename);
  json.member("format", outcome.format);
  unless_zero("fragmented-clusters", report.fragmented_clusters);
  json.end_object();
  return text + "\n";
}

int exit_status(const CheckReport& report) {
  if (report.check_errors != 0) return kFailure;
  if (report.corruptions != 0) return kCorrupt;
  return report.leaks != 0 ? kLeaks : kSuccess;
}

enum class Chatter : uint8_t { kQuiet, kHuman };

/// Checks, and checks again what was repaired.
Result<CheckReport> check(Session& session, Node& node, Repair repair, Chatter chatter) {
  const Program& program = session.program();
  CheckOptions options;
  options.repair = repair;
  options.on_finding = [&program](const CheckFinding& finding) {
    program.note(peer_finding_text(finding, program.name()));
  };
  Result<CheckReport> first = session.wait(check_task(node.driver(), options));
  if (!first || (first->leaks_fixed == 0 && first->corruptions_fixed == 0)) return first;
  if (chatter == Chatter::kHuman) session.program().out().write(fixed_text(*first));
  options.repair = Repair::kNothing;
  Result<CheckReport> second = session.wait(check_task(node.driver(), options));
  if (second) {
    second->leaks_fixed = first->leaks_fixed;
    second->corruptions_fixed = first->corruptions_fixed;
  }
  return second;
}

int complain(const Program& program, const Error& error) {
  if (error.code() == ErrorCode::kUnsupported) {
    program.error("This image format does not support checks");
    return kNoChecks;
  }
  // Reasons that have words of the peer's have been told as findings already.
  if (!error.reason().empty() && !peer_words(error.reason(), error.values())) {
    program.error(error.message());
  }
  program.error(fmt::format("Check failed: {}", std::strerror(error.os_error())));
  return kFailure;
}

std::optional<Repair> repair_of(const Program& program, const Arguments& arguments) {
  const auto what = arguments.value(kRepairRow.name);
  if (!what) return Repair::kNothing;
  if (*what == "leaks") return Repair::kLeaks;
  if (*what == "all") return Repair::kAll;
  usage_error(program, arguments.command().name,
              fmt::format("Unknown option value for -r (expecting 'leaks' or 'all'): {}", *what));
  return std::nullopt;
}

int run(Program& program, const Arguments& arguments) {
  const auto repair = repair_of(program, arguments);
  if (!repair) return kFailure;
  const auto form = output_form(program, arguments);
  if (!form || !check_operands(program, arguments, {1, 1}, "Expecting one image file name")) {
    return kFailure;
  }
  auto request = image_request(program, arguments, arguments.operands()[0]);
  if (!request) return kFailure;
  request->flags.checking = true;
  request->flags.read_only = *repair == Repair::kNothing;
  const std::string_view cache = arguments.value(kCacheRow.name).value_or("writeback");
  if (!set_cache_mode(program, *request, cache, "source cache")) return kFailure;
  const StartedSession started = start_session(program, arguments);
  if (!started.session) return started.status;

  Permissions used = Permission::kConsistentRead;
  if (*repair != Repair::kNothing) used = used | Permission::kWrite | Permission::kResize;
  BackendRef backend = open_backend(*started.session, *request, used);
  if (!backend) return kFailure;
  const bool quiet = arguments.has(kQuietRow.name);
  const bool human = *form == OutputForm::kHuman && !quiet;
  const Result<CheckReport> report =
      check(*started.session, *backend->root(), *repair, human ? Chatter::kHuman : Chatter::kQuiet);
  if (!report) return complain(program, report.error());
  if (human) {
    program.out().write(human_text(*report));
  } else if (!quiet) {
    const std::string format(backend->root()->spec().name);
    program.out().write(
        json_text({.filename = request->name, .format = format, .report = *report}));
  }
  backend = {};
  const Result<void> closed = started.session->close();
  if (!closed) return complain(program, closed.error());
  if (report->check_errors != 0) program.error("Check failed");
  return exit_status(*report);
}

}  // namespace

constinit const Command kCheckCommand{.name = "check",
                                      .operands = "FILE",
                                      .summary = "check an image, and repair it",
                                      .options = kOptions,
                                      .run = run};

}  // namespace ashlar::tools
