// Opening of images as the command line describes them.
#include "tools/common/image_arguments.h"

#include <fmt/format.h>

#include "tools/common/peer_names.h"
#include "tools/common/peer_text.h"

namespace ashlar::tools {
namespace {

Task<Result<NodeRef>> open_node_task(Graph& graph, const ImageRequest& request) {
  Graph::Image image;
  image.flags = request.flags;
  image.format = request.format;
  image.filename = request.name;
  image.options = request.options;
  if (request.syntax == ImageRequest::Syntax::kOptions) {
    const Result<OptionDict> options = OptionDict::parse_key_value(request.name, "file");
    if (!options) co_return fail(options.error());
    // A json: name says the same, and its format is probed when it has no driver.
    image.filename = options->to_json_name();
  }
  co_return co_await graph.open_image(std::move(image));
}

/// Whether options say the opposite of --force-share.
bool denies_sharing(std::string_view image_options) {
  Result<OptionDict> options = OptionDict::parse_key_value(image_options);
  if (!options) return false;  // opening says what is wrong
  const Result<std::optional<bool>> share = options->take_switch("force-share");
  return share && *share == false;
}

void warn_of_guessed_raw(const Program& program, const Node& node) {
  if (node.flags().read_only || !node.flags().probed || node.spec().name != "raw") return;
  program.note(fmt::format(
      "WARNING: Image format was not specified for '{}' and probing guessed raw.\n"
      "         Automatically detecting the format is dangerous for raw images, write operations "
      "on block 0 will be restricted.\n"
      "         Specify the 'raw' format explicitly to remove the restrictions.",
      shown_name(node)));
}

Task<Result<void>> insert_task(Backend& backend, NodeRef node) {
  co_return co_await backend.insert_medium(std::move(node));
}

}  // namespace

StartedSession start_session(Program& program, const Arguments& arguments,
                             const RuntimeOptions& runtime) {
  Objects objects;
  for (const std::string_view text : arguments.values(kObjectRow.name)) {
    if (const auto help = object_help(text)) {
      program.out().write(*help);
      return {.session = nullptr, .status = kSuccess};
    }
    const Result<void> added = objects.add(text);
    if (!added) {
      program.error(peer_text(added.error()));
      return {};
    }
  }
  const Trust trust = arguments.has(kUntrustedRow.name) ? Trust::kNothing : Trust::kImages;
  auto session = std::make_unique<Session>(program, trust, runtime, std::move(objects));
  return {.session = std::move(session), .status = kSuccess};
}

std::optional<ImageRequest> image_request(Program& program, const Arguments& arguments,
                                          std::string_view name) {
  ImageRequest request;
  request.name = name;
  request.flags.read_only = true;
  request.flags.force_share = arguments.has(kForceShareRow.name);
  if (const auto format = arguments.value(kFormatRow.name)) request.format = std::string(*format);
  if (arguments.has(kImageOptsRow.name)) {
    if (request.format) {
      program.error("--image-opts and --format are mutually exclusive");
      return std::nullopt;
    }
    if (request.flags.force_share && denies_sharing(name)) {
      program.error("--force-share/-U conflicts with image options");
      return std::nullopt;
    }
    request.syntax = ImageRequest::Syntax::kOptions;
  }
  return request;
}

bool set_cache_mode(Program& program, ImageRequest& request, std::string_view mode,
                    std::string_view what) {
  const std::optional<CacheMode> parsed = parse_cache_mode(mode);
  if (!parsed) {
    program.error(fmt::format("Invalid {} option: {}", what, mode));
    return false;
  }
  parsed->apply_to(request.flags);
  request.write_cache = parsed->write_cache;
  return true;
}

Result<NodeRef> try_open_node(Session& session, const ImageRequest& request) {
  Result<NodeRef> node = session.wait(open_node_task(session.graph(), request));
  if (node) warn_of_guessed_raw(session.program(), **node);
  return node;
}

std::optional<NodeRef> open_node(Session& session, const ImageRequest& request) {
  Result<NodeRef> node = try_open_node(session, request);
  if (node) return std::move(*node);
  complain_of_open(session.program(), request.name, node.error());
  return std::nullopt;
}

BackendRef open_backend(Session& session, const ImageRequest& request, Permissions used) {
  std::optional<NodeRef> node = open_node(session, request);
  if (!node) return {};
  Result<BackendRef> backend = session.graph().create_backend();
  Result<void> done = backend ? (*backend)->set_permissions(used, Permissions::all())
                              : Result<void>(fail(backend.error()));
  if (done) {
    (*backend)->set_write_cache(request.write_cache);
    done = session.wait(insert_task(**backend, std::move(*node)));
  }
  if (done) return std::move(*backend);
  complain_of_open(session.program(), request.name, done.error());
  return {};
}

void complain_of_open(const Program& program, std::string_view name, const Error& error) {
  program.error(fmt::format("Could not open '{}': {}", name, peer_text(error)));
}

std::optional<OutputForm> output_form(Program& program, const Arguments& arguments) {
  const std::string_view form = arguments.value(kOutputRow.name).value_or("human");
  if (form == "human") return OutputForm::kHuman;
  if (form == "json") return OutputForm::kJson;
  program.error(fmt::format("--output expects 'human' or 'json', not '{}'", form));
  return std::nullopt;
}

}  // namespace ashlar::tools
