// Opening images by their file names.
#include "graph/image.h"

#include "graph/filename.h"
#include "graph/open.h"

namespace ashlar {

namespace {

constexpr std::string_view kJson = "json:";

/// Without "driver" where the format is to be probed.
Result<OptionDict> options_of_image(const GraphState& graph, const Graph::Image& image) {
  OptionDict options;
  if (image.format) options.set("driver", *image.format);
  if (image.filename.starts_with(kJson)) {
    Result<OptionDict> parsed =
        OptionDict::parse_json(std::string_view(image.filename).substr(kJson.size()));
    if (!parsed) return fail(parsed.error().within("read the json: name").because("json-name"));
    for (const auto& [key, value] : parsed->entries()) {
      if (key != "driver" || !image.format) options.set(key, value);
    }
  } else {
    Result<OptionDict> storage = storage_options(graph, image.filename);
    if (!storage) return storage;
    const DriverSpec* spec = image.format ? graph.find_driver(*image.format) : nullptr;
    if (spec != nullptr && spec->kind == NodeKind::kStorage) {
      storage->erase("driver");
      for (const auto& [key, value] : storage->entries()) options.set(key, value);
    } else {
      options.add_subtree("file", *storage);
    }
  }
  for (const auto& [key, value] : image.options.entries()) options.set(key, value);
  return options;
}

/// Opens the child "file" of an image to be, looks, and closes it again.
Task<Result<std::string>> probe_file(OpenSession& session, OptionDict options) {
  TreeRequest file;
  file.level = TreeRequest::Level::kStorage;
  file.defaults.read_only = true;
  file.defaults.force_share = true;
  Result<NodeRef> opened = co_await session.open_child(options, "file", std::move(file));
  if (!opened) co_return fail(opened.error());
  Result<const DriverSpec*> spec = co_await probe_format(session.graph(), *opened);
  if (!spec) co_return fail(spec.error());
  co_return std::string((*spec)->name);
}

}  // namespace

Task<Result<NodeRef>> open_root(GraphState& graph, OptionDict options, OpenFlags flags) {
  OpenSession session(graph);
  TreeRequest request;
  request.options = std::move(options);
  request.defaults = flags;
  Result<NodeRef> opened = co_await session.open_tree(std::move(request));
  // Files of a tree that did not come to be are closed, and unlocked, when the caller hears of it.
  if (!opened) (void)co_await session.close();
  co_return std::move(opened);
}

Task<Result<NodeRef>> open_image(GraphState& graph, Graph::Image image) {
  Result<OptionDict> options = options_of_image(graph, image);
  if (!options) co_return fail(options.error());
  co_return co_await open_root(graph, std::move(*options), image.flags);
}

Task<Result<OptionDict>> probed_image_options(GraphState& graph, Graph::Image image) {
  Result<OptionDict> options = options_of_image(graph, image);
  if (!options || options->find("driver") != nullptr) co_return std::move(options);
  if (options->find("file") == nullptr && !options->has_subtree("file")) {
    co_return std::move(options);  // open() says what is missing
  }
  OpenSession session(graph);
  Result<std::string> format = co_await probe_file(session, *options);
  (void)co_await session.close();  // it was only looked at
  if (!format) co_return fail(format.error());
  OptionDict complete;
  complete.set("driver", *format);
  for (const auto& [key, value] : options->entries()) complete.set(key, value);
  co_return std::move(complete);
}

}  // namespace ashlar
