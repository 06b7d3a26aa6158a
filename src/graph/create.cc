// Creating images: the format writes into files that its storage makes.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "graph/filename.h"
#include "graph/image.h"
#include "graph/open.h"
#include "graph/transaction.h"

namespace ashlar {

namespace {

constexpr Permissions kCreating =
    Permission::kConsistentRead | Permission::kWrite | Permission::kResize;

bool names(std::vector<OptionDescription> (*options)(), std::string_view key) {
  if (options == nullptr) return false;
  const std::vector<OptionDescription> rows = options();
  return std::any_of(rows.begin(), rows.end(), [key](const auto& row) { return row.name == key; });
}

std::string_view word_of(Preallocation preallocation) {
  switch (preallocation) {
    case Preallocation::kOff:
      return "off";
    case Preallocation::kMetadata:
      return "metadata";
    case Preallocation::kFalloc:
      return "falloc";
    case Preallocation::kFull:
      return "full";
  }
  return "off";
}

/// A file that has been made, and is open while the image is.
struct CreatedFile {
  CreatedFile() : edge(nullptr, "creating an image", "file", ChildRole::kPrimary) {}
  std::string filename;
  const DriverSpec* storage = nullptr;
  bool existed = true;
  NodeRef node;
  Edge edge;
};

class ImageCreation final : public CreateContext {
 public:
  ImageCreation(GraphState& graph, std::string filename, OptionDict file_options)
      : graph_(graph), filename_(std::move(filename)), file_options_(std::move(file_options)) {}

  Task<Result<Child*>> create_file(uint64_t size, Preallocation preallocation) override {
    OptionDict options = std::exchange(file_options_, {});
    if (preallocation != Preallocation::kOff) {
      options.set("preallocation", std::string(word_of(preallocation)));
    }
    options.set("size", static_cast<int64_t>(size));
    return make(filename_, std::move(options));
  }
  Task<Result<Child*>> create_other(std::string filename, uint64_t size) override {
    OptionDict options;
    options.set("size", static_cast<int64_t>(size));
    return make(std::move(filename), std::move(options));
  }

  /// Flushes and closes what was made. The first error counts.
  Task<Result<void>> finish();
  /// Removes what was made and was not there before.
  Task<void> undo();

 private:
  Task<Result<Child*>> make(std::string filename, OptionDict options);
  Task<Result<NodeRef>> open(OpenSession& session, const std::string& filename, OpenFlags flags);
  Task<bool> exists(const std::string& filename);

  GraphState& graph_;
  std::string filename_;
  OptionDict file_options_;
  std::vector<std::unique_ptr<CreatedFile>> files_;
};

/// Opens the storage alone.
Task<Result<NodeRef>> ImageCreation::open(OpenSession& session, const std::string& filename,
                                          OpenFlags flags) {
  TreeRequest request;
  Result<OptionDict> options = storage_options(graph_, filename);
  if (!options) co_return fail(options.error());
  request.options = std::move(*options);
  request.defaults = flags;
  request.level = TreeRequest::Level::kStorage;
  co_return co_await session.open_tree(std::move(request));
}

/// False only when that is certain.
Task<bool> ImageCreation::exists(const std::string& filename) {
  OpenFlags flags;
  flags.read_only = true;
  flags.force_share = true;
  OpenSession session(graph_);
  Result<NodeRef> found = co_await open(session, filename, flags);
  const bool missing = !found && found.error().code() == ErrorCode::kNotFound;
  found = NodeRef();
  (void)co_await session.close();
  co_return !missing;
}

Task<Result<Child*>> ImageCreation::make(std::string filename, OptionDict options) {
  Result<OptionDict> storage = storage_options(graph_, filename);
  if (!storage) co_return fail(storage.error());
  const std::string driver = storage->text("driver").value_or("");
  const DriverSpec* spec = graph_.find_driver(driver);
  if (spec == nullptr || spec->create_file == nullptr) {
    co_return fail(Error(ErrorCode::kUnsupported,
                         fmt::format("driver {} cannot make \"{}\"", driver, filename))
                       .because("create-storage", {driver, filename}));
  }
  auto file = std::make_unique<CreatedFile>();
  file->existed = co_await exists(filename);
  Result<void> made = co_await spec->create_file(filename, std::move(options));
  if (!made) co_return fail(made.error());
  file->filename = std::move(filename);
  file->storage = spec;
  CreatedFile& created = *files_.emplace_back(std::move(file));
  OpenSession session(graph_);
  Result<NodeRef> opened = co_await open(session, created.filename, OpenFlags());
  if (!opened) {
    (void)co_await session.close();
    co_return fail(opened.error());
  }
  created.node = std::move(*opened);

  Transaction attach(graph_);
  attach.set_permissions(created.edge, kCreating, Permission::kConsistentRead);
  Result<void> done = attach.point(created.edge, static_cast<GraphNode*>(created.node.get()));
  if (done) done = attach.apply();
  if (!done) co_return fail(done.error());
  attach.commit();
  co_return &created.edge;
}

Task<Result<void>> ImageCreation::finish() {
  Result<void> first = ok();
  for (const auto& file : files_) {
    if (!file->node) continue;
    if (file->edge.child() != nullptr) {
      Result<void> flushed = co_await file->edge.flush();
      if (!flushed && first) first = flushed;
      Transaction detach(graph_);
      (void)detach.point(file->edge, nullptr);
      (void)detach.apply();  // to use nothing is not refused
      detach.commit();
    }
    Result<void> closed = co_await graph_.close_node(static_cast<GraphNode&>(*file->node));
    if (!closed && first) first = closed;
    file->node = NodeRef();
  }
  co_return first;
}

Task<void> ImageCreation::undo() {
  for (const auto& file : files_) {
    if (file->existed || file->storage->delete_file == nullptr) continue;
    // The error that led here is the one to report.
    (void)co_await file->storage->delete_file(file->filename);
  }
}

/// What the format does not know goes to its file.
Result<OptionDict> take_file_options(const GraphState& graph, const DriverSpec& format,
                                     const std::string& filename, OptionDict& options) {
  Result<OptionDict> storage = storage_options(graph, filename);
  if (!storage) return storage;
  const DriverSpec* spec = graph.find_driver(storage->text("driver").value_or(""));
  OptionDict file_options;
  const std::vector<OptionDict::Entry> entries(options.entries().begin(), options.entries().end());
  for (const auto& [key, value] : entries) {
    if (key == "size" || names(format.create_options, key)) continue;
    if (spec == nullptr || !names(spec->create_options, key)) {
      return fail(Error(ErrorCode::kInvalidArgument,
                        fmt::format("{}: no option is called \"{}\"", format.name, key))
                      .because("option-unknown", {std::string(format.name), key}));
    }
    file_options.set(key, value);
    options.erase(key);
  }
  return file_options;
}

}  // namespace

Task<Result<void>> create_image(GraphState& graph, NewImage image, OptionDict options) {
  const DriverSpec* format = graph.find_driver(image.format);
  if (format == nullptr) {
    co_return fail(
        Error(ErrorCode::kInvalidArgument, fmt::format("no driver is called \"{}\"", image.format))
            .because("driver-unknown", {image.format}));
  }
  if (format->create == nullptr && format->create_file != nullptr) {
    co_return co_await format->create_file(std::move(image.filename), std::move(options));
  }
  if (format->create == nullptr) {
    co_return fail(
        Error(ErrorCode::kUnsupported, fmt::format("driver {} cannot create images", image.format))
            .because("create-unsupported", {image.format}));
  }
  Result<OptionDict> file_options = take_file_options(graph, *format, image.filename, options);
  if (!file_options) co_return fail(file_options.error());
  ImageCreation creation(graph, image.filename, std::move(*file_options));
  Result<void> created = co_await format->create(creation, std::move(options));
  Result<void> finished = co_await creation.finish();
  if (created && !finished) created = finished;
  if (!created) co_await creation.undo();
  co_return created;
}

}  // namespace ashlar
