// img info: what an image, or every image of a chain, says about itself.
#include <fmt/format.h>

#include <set>
#include <string>
#include <vector>

#include "monitor/graph_view.h"
#include "tools/common/image_arguments.h"
#include "tools/common/image_report.h"
#include "tools/common/json_writer.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr OptionRow kChainRow{.name = "backing-chain",
                              .help = "describe all images of the chain, the given one first"};
constexpr OptionRow kLimitsRow{.name = "limits", .help = "show the limits of requests, too"};
constexpr OptionRow kCacheRow{
    .name = "cache", .letter = 't', .value = "MODE", .help = "cache mode"};
constexpr OptionRow kGraphRow{
    .name = "graph", .value = "dot|svg", .help = "draw the image and all images below it instead"};
constexpr OptionRow kOptions[] = {kFormatRow,     kImageOptsRow, kChainRow,  kCacheRow,
                                  kForceShareRow, kLimitsRow,    kOutputRow, kObjectRow,
                                  kUntrustedRow,  kGraphRow};

std::optional<ImageReport> report_image(Session& session, const ImageRequest& request,
                                        const Arguments& arguments) {
  const std::optional<NodeRef> node = open_node(session, request);
  if (!node) return std::nullopt;
  ImageReport report = describe_node(**node);
  if (arguments.has(kLimitsRow.name)) {
    const NodeInfo info = (*node)->info();
    report.limits = LimitsReport{.request_alignment = info.request_alignment,
                                 .max_transfer = info.max_transfer,
                                 .memory_alignment = info.memory_alignment};
  }
  return report;
}

/// The request for the backing image that `report` names.
ImageRequest backing_request(const ImageRequest& above, const ImageReport& report) {
  ImageRequest request = above;
  request.syntax = ImageRequest::Syntax::kFileName;
  request.name = report.full_backing_file;
  request.format.reset();
  if (!report.info.backing_format.empty()) request.format = report.info.backing_format;
  return request;
}

/// The image, and with --backing-chain those below it. Empty after a complaint.
std::vector<ImageReport> collect(Session& session, ImageRequest request,
                                 const Arguments& arguments) {
  std::vector<ImageReport> reports;
  std::set<std::string> seen;
  for (;;) {
    if (!seen.insert(request.name).second) {
      session.program().error(
          fmt::format("Backing file '{}' creates an infinite loop.", request.name));
      return {};
    }
    std::optional<ImageReport> report = report_image(session, request, arguments);
    if (!report) return {};
    reports.push_back(std::move(*report));
    const ImageReport& last = reports.back();
    if (!arguments.has(kChainRow.name) || last.full_backing_file.empty()) return reports;
    request = backing_request(request, last);
  }
}

void print_human(Program& program, const std::vector<ImageReport>& reports) {
  std::string text;
  for (const ImageReport& report : reports) {
    if (!text.empty()) text += '\n';
    append_report(text, report);
  }
  program.out().write(text);
}

void print_json(Program& program, const std::vector<ImageReport>& reports,
                const Arguments& arguments) {
  std::string text;
  JsonWriter json(text);
  const bool list = arguments.has(kChainRow.name);
  if (list) json.begin_array();
  for (const ImageReport& report : reports) write_report(json, report);
  if (list) json.end_array();
  program.out().write(text + "\n");
}

/// The whole chain is opened: what is missing is an error here.
int draw(Program& program, const Arguments& arguments, ImageRequest request) {
  const std::string_view form = *arguments.value(kGraphRow.name);
  if (form != "dot" && form != "svg") {
    program.error(fmt::format("--graph expects 'dot' or 'svg', not '{}'", form));
    return kFailure;
  }
  request.flags.no_backing = false;
  const StartedSession started = start_session(program, arguments);
  if (!started.session) return started.status;
  const std::optional<NodeRef> node = open_node(*started.session, request);
  if (!node) return kFailure;
  const monitor::GraphView view = monitor::view_graph(started.session->graph());
  program.out().write(form == "svg" ? to_svg(view) : to_dot(view));
  return kSuccess;
}

int run(Program& program, const Arguments& arguments) {
  const auto form = output_form(program, arguments);
  if (!form || !check_operands(program, arguments, {1, 1}, "Expecting one image file name")) {
    return kFailure;
  }
  auto request = image_request(program, arguments, arguments.operands()[0]);
  if (!request) return kFailure;
  // Only metadata: encrypted images need no key, and missing backing files do no harm.
  request->flags.metadata_only = true;
  request->flags.no_backing = true;
  const auto cache = arguments.value(kCacheRow.name);
  if (cache && !set_cache_mode(program, *request, *cache, "cache")) return kFailure;
  if (arguments.has(kGraphRow.name)) return draw(program, arguments, std::move(*request));
  const StartedSession started = start_session(program, arguments);
  if (!started.session) return started.status;
  const std::vector<ImageReport> reports = collect(*started.session, *request, arguments);
  if (reports.empty()) return kFailure;
  if (*form == OutputForm::kJson) {
    print_json(program, reports, arguments);
  } else {
    print_human(program, reports);
  }
  return kSuccess;
}

}  // namespace

constinit const Command kInfoCommand{.name = "info",
                                     .operands = "FILE",
                                     .summary = "show what an image is",
                                     .options = kOptions,
                                     .run = run};

}  // namespace ashlar::tools
