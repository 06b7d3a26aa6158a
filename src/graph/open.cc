// Opening a tree: the layers of a chain one after the other, each with its other children.
#include "graph/open.h"

#include <fmt/format.h>

#include <utility>

#include "graph/filename.h"
#include "graph/node_bitmaps.h"
#include "graph/open_context.h"
#include "graph/transaction.h"

namespace ashlar {

namespace {

/// Trees within trees: filters over images whose options name further ones.
constexpr unsigned kMaxNesting = OptionDict::kMaxDepth;

Error backing_error(const GraphNode& overlay, const Error& error) {
  return error.because("backing-open", {error.message()})
      .within("open backing of", overlay.filename());
}

Error missing_driver() {
  return Error(ErrorCode::kInvalidArgument, "options name neither a driver nor a file")
      .because("driver-missing");
}

Result<const DriverSpec*> find_known_driver(const GraphState& graph, const std::string& name) {
  const DriverSpec* spec = graph.find_driver(name);
  if (spec != nullptr && spec->open != nullptr) return spec;
  return fail(Error(ErrorCode::kInvalidArgument, fmt::format("no driver is called \"{}\"", name))
                  .because("driver-unknown", {name}));
}

unsigned chain_length(const Node& node) {
  unsigned length = 1;
  for (const Node* below = node.backing(); below != nullptr; below = below->backing()) ++length;
  return length;
}

/// The file behind a layer, comparable; empty when it has no name, or a layer below has it.
std::string storage_name(const GraphState& graph, const OptionDict& options) {
  const DriverSpec* spec = graph.find_driver(options.text("driver").value_or(""));
  if (spec != nullptr && spec->kind == NodeKind::kFilter) return {};
  std::optional<std::string> name = options.text("file.filename");
  if (!name) name = options.text("filename");
  return name ? comparable_name(*name) : std::string();
}

}  // namespace

Result<Edge*> attach_child(GraphNode& parent, std::string name, ChildRole role, GraphNode& child) {
  Transaction attach(parent.graph(), Transaction::Nodes::kOpening);
  Edge& edge = attach.add_edge(parent, std::move(name), role);
  if (Result<void> pointed = attach.point(edge, &child); !pointed) return fail(pointed.error());
  if (Result<void> applied = attach.apply(); !applied) return fail(applied.error());
  attach.commit();
  return &edge;
}

/// What the options say about the backing image.
struct OpenSession::BackingChoice {
  enum class Kind : uint8_t { kUnsaid, kNone, kNode, kOptions } kind = Kind::kUnsaid;
  std::string node;
  OptionDict options;

  static BackingChoice take(OptionDict& from, const DriverSpec& spec, const OpenFlags& flags) {
    BackingChoice choice;
    const OptionValue* value = from.find("backing");
    const std::string text = from.text("backing").value_or("");
    if (value != nullptr && (std::holds_alternative<std::monostate>(*value) || text.empty())) {
      from.erase("backing");
      choice.kind = Kind::kNone;
      return choice;
    }
    // Left in: the driver does not know them, so that they are refused by name.
    if (!spec.supports_backing || flags.no_backing) return choice;
    if (value != nullptr) {
      choice.kind = Kind::kNode;
      choice.node = text;
      from.erase("backing");
    } else if (from.has_subtree("backing")) {
      choice.kind = Kind::kOptions;
      choice.options = from.take_subtree("backing");
    }
    return choice;
  }
};

/// One layer of a chain while it is opened, and after.
struct OpenSession::Layer {
  GenericOptions generic;
  OpenFlags flags;
  BackingChoice backing;
  NodeRef probed_file;  // opened to look at; becomes the child "file"
  NodeRef node;

  GraphNode& graph_node() const { return static_cast<GraphNode&>(*node); }
};

Task<Result<NodeRef>> OpenSession::open_tree(TreeRequest request) {
  if (request.nesting > kMaxNesting) {
    co_return fail(Error(ErrorCode::kTooLarge,
                         fmt::format("more than {} images within each other", kMaxNesting))
                       .because("nesting", {std::to_string(kMaxNesting)}));
  }
  ChainSoFar own_chain;
  if (request.chain == nullptr) request.chain = &own_chain;
  NodeRef top;
  NodeRef upper;
  while (true) {
    Result<void> added = add_to_chain(*request.chain, request.options);
    if (!added) {
      co_return fail(upper ? backing_error(static_cast<GraphNode&>(*upper), added.error())
                           : added.error());
    }
    Result<Layer> layer = co_await open_layer(request);
    if (!layer && !upper) co_return fail(layer.error());
    if (!layer) {
      co_return fail(backing_error(static_cast<GraphNode&>(*upper), layer.error()));
    }
    if (!top) top = layer->node;
    if (upper) {
      Result<Edge*> attached = attach_child(static_cast<GraphNode&>(*upper), "backing",
                                            ChildRole::kBacking, layer->graph_node());
      if (!attached) co_return fail(attached.error());
    }
    upper = layer->node;
    if (layer->backing.kind == BackingChoice::Kind::kNode) {
      Result<NodeRef> lower = co_await find_existing(layer->backing.node);
      if (!lower) co_return fail(lower.error());
      layer->graph_node().origin().children_named = true;
      request.chain->depth += chain_length(**lower);
      Result<void> short_enough = add_to_chain(*request.chain, OptionDict());
      if (!short_enough) co_return fail(short_enough.error());
      Result<Edge*> attached = attach_child(layer->graph_node(), "backing", ChildRole::kBacking,
                                            static_cast<GraphNode&>(**lower));
      if (!attached) co_return fail(attached.error());
      co_return top;
    }
    Result<std::optional<TreeRequest>> next = next_layer(request, *layer);
    if (!next) co_return fail(next.error());
    if (!*next) co_return top;
    request = std::move(**next);
  }
}

Result<void> OpenSession::add_to_chain(ChainSoFar& chain, const OptionDict& options) {
  if (chain.depth++ >= graph_.limits().chain_depth) {
    return fail(Error(ErrorCode::kTooLarge,
                      fmt::format("the backing chain has more than {} layers, which is the limit",
                                  graph_.limits().chain_depth))
                    .because("chain-depth", {std::to_string(graph_.limits().chain_depth)}));
  }
  std::string name = storage_name(graph_, options);
  if (name.empty() || chain.names.insert(name).second) return ok();
  return fail(Error(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" is below itself in its backing chain", name))
                  .because("backing-loop", {name}));
}

Result<std::optional<TreeRequest>> OpenSession::next_layer(const TreeRequest& request,
                                                           Layer& layer) {
  if (layer.flags.no_backing || layer.backing.kind == BackingChoice::Kind::kNone) {
    layer.graph_node().origin().children_named |=
        layer.backing.kind == BackingChoice::Kind::kNone &&
        layer.node->driver().backing_reference().has_value();
    return std::nullopt;
  }
  Result<std::optional<OptionDict>> options = backing_options(layer);
  if (!options) return fail(backing_error(layer.graph_node(), options.error()));
  if (!*options) return std::nullopt;
  TreeRequest next;
  next.options = std::move(**options);
  next.defaults = flags_for_child(layer.flags, layer.node->spec().kind, ChildRole::kBacking);
  next.owner = &layer.graph_node();
  next.nesting = request.nesting;
  next.chain = request.chain;
  return next;
}

/// The user's options win; what they leave open, the image may name.
Result<std::optional<OptionDict>> OpenSession::backing_options(Layer& layer) {
  OptionDict& given = layer.backing.options;
  const std::optional<std::string> driver = given.text("driver");
  const DriverSpec* spec = driver ? graph_.find_driver(*driver) : nullptr;
  const bool complete = given.find("file") != nullptr || given.has_subtree("file") ||
                        (spec != nullptr && spec->kind == NodeKind::kStorage);
  const std::optional<Reference> reference = layer.node->driver().backing_reference();
  layer.graph_node().origin().children_named |= complete || driver.has_value();
  if (complete || !reference) {
    if (given.empty()) return std::nullopt;
    return std::move(given);
  }
  Result<std::optional<OptionDict>> resolved =
      graph_.resolver().resolve(*reference, layer.graph_node().primary_storage().filename());
  if (!resolved || !*resolved) return resolved;
  Result<OptionDict> expanded = expand_image_name(graph_, std::move(**resolved));
  if (!expanded) return fail(expanded.error());
  for (const auto& [key, value] : given.entries()) expanded->set(key, value);
  return std::move(*expanded);
}

Task<Result<void>> OpenSession::close() { return close_since(0); }

/// Closes what was added after the first `count` nodes.
Task<Result<void>> OpenSession::close_since(size_t count) {
  const auto start = added_.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<NodeRef> nodes(std::make_move_iterator(start), std::make_move_iterator(added_.end()));
  added_.resize(count);
  return graph_.close_unused(std::move(nodes));
}

Task<Result<OpenSession::Layer>> OpenSession::open_layer(TreeRequest& request) {
  Layer layer;
  Result<GenericOptions> generic = take_options<GenericOptions>(request.options);
  if (!generic) co_return fail(generic.error());
  layer.generic = std::move(*generic);
  Result<OpenFlags> flags = layer.generic.flags(request.defaults);
  if (!flags) co_return fail(flags.error());
  layer.flags = *flags;
  Result<const DriverSpec*> spec = co_await choose_driver(request, layer);
  if (!spec) co_return fail(spec.error());
  layer.backing = BackingChoice::take(request.options, **spec, layer.flags);

  const OptionDict options = request.options;
  const size_t before = added_.size();
  Result<void> opened = co_await open_node(request, layer, **spec);
  const bool not_writable = !opened && (opened.error().code() == ErrorCode::kPermission ||
                                        opened.error().code() == ErrorCode::kReadOnly);
  if (not_writable && layer.flags.auto_read_only && !layer.flags.read_only) {
    layer.flags.read_only = true;
    request.options = options;
    (void)co_await close_since(before);  // its name and locks are needed again
    opened = co_await open_node(request, layer, **spec);
  }
  if (!opened) co_return fail(opened.error());
  co_return std::move(layer);
}

Task<Result<const DriverSpec*>> OpenSession::choose_driver(TreeRequest& request, Layer& layer) {
  if (layer.generic.driver) co_return find_known_driver(graph_, *layer.generic.driver);
  if (request.level == TreeRequest::Level::kStorage) {
    // A name without a driver is a path, whatever it looks like: prefixes are for whole names.
    const std::optional<std::string> filename = request.options.text("filename");
    if (!filename) co_return fail(missing_driver());
    const bool like_prefix = !filename_prefix(*filename).empty();
    Result<OptionDict> storage =
        storage_options(graph_, like_prefix ? "./" + *filename : *filename);
    if (!storage) co_return fail(storage.error());
    layer.generic.driver = storage->text("driver");
    co_return find_known_driver(graph_, layer.generic.driver.value_or(""));
  }
  if (request.options.find("file") == nullptr && !request.options.has_subtree("file")) {
    co_return fail(missing_driver());
  }
  TreeRequest file;
  file.defaults = flags_for_child(layer.flags, NodeKind::kFormat, ChildRole::kPrimary);
  file.level = TreeRequest::Level::kStorage;
  file.nesting = request.nesting + 1;
  Result<NodeRef> opened = co_await open_child(request.options, "file", std::move(file));
  if (!opened) co_return fail(opened.error());
  layer.probed_file = std::move(*opened);
  layer.flags.probed = true;
  co_return co_await probe_format(graph_, layer.probed_file);
}

Task<Result<NodeRef>> OpenSession::find_existing(std::string name) {
  // Others must not change a node while a tree that uses it is being put together.
  if (!changes_) changes_ = co_await graph_.changes().lock();
  GraphNode* node = graph_.find_node(name);
  if (node != nullptr) co_return NodeRef(node);
  co_return fail(Error(ErrorCode::kNotFound, fmt::format("no node is called \"{}\"", name))
                     .because("node-not-found", {name}));
}

Task<Result<NodeRef>> OpenSession::open_child(OptionDict& options, std::string name,
                                              TreeRequest request) {
  const std::optional<std::string> node = options.take_text(name);
  request.options = options.take_subtree(name);
  if (node && !request.options.empty()) {
    co_return fail(Error(ErrorCode::kInvalidArgument,
                         fmt::format("option \"{}\" names node \"{}\", which takes no options here",
                                     name, *node))
                       .because("child-node-and-options", {name, *node}));
  }
  if (node && !node->empty()) co_return co_await find_existing(*node);
  if (!request.options.empty()) co_return co_await open_tree(std::move(request));
  co_return fail(
      Error(ErrorCode::kInvalidArgument,
            fmt::format("option \"{}\" is missing: a node-name, or options of one", name))
          .because("child-missing", {name}));
}

Task<Result<void>> OpenSession::open_node(TreeRequest& request, Layer& layer,
                                          const DriverSpec& spec) {
  Result<NodeRef> added = graph_.add_node(layer.generic.node_name.value_or(""), spec, layer.flags);
  if (!added) co_return fail(added.error());
  added_.push_back(*added);
  GraphNode& node = static_cast<GraphNode&>(**added);
  node.origin() = {layer.generic, request.defaults, request.owner, false};
  OpenContextSetup setup;
  setup.probed_file = layer.probed_file;
  setup.nesting = request.nesting;
  setup.chain = request.chain;
  NodeOpenContext context(*this, node, request.options, std::move(setup));
  Result<std::unique_ptr<Driver>> driver = co_await spec.open(context);
  if (!driver) co_return fail(driver.error());
  graph_.finish_open(node, std::move(*driver));
  if (!request.options.empty()) {
    const std::string& key = request.options.entries().front().first;
    co_return fail(
        Error(ErrorCode::kInvalidArgument,
              fmt::format("{}: no option is called \"{}\"", spec.name, key))
            .because(spec.kind == NodeKind::kStorage ? "storage-option-unknown" : "option-unknown",
                     {std::string(spec.name), key}));
  }
  if (Result<void> loaded = co_await load_written_bitmaps(node); !loaded) co_return loaded;
  layer.node = std::move(*added);
  co_return ok();
}

}  // namespace ashlar
