// Names, references, and closing what nobody uses any more.
#include "graph/graph_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "graph/node_bitmaps.h"
#include "graph/transaction.h"

namespace ashlar {

namespace {

constexpr size_t kMaxNameLength = 31;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool is_valid_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameLength || !is_letter(name.front())) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

}  // namespace

GraphState::GraphState(Runtime& runtime, Graph::Options options)
    : runtime_(runtime),
      drivers_(options.drivers),
      resolver_(options.resolver ? std::move(options.resolver) : refuse_references()),
      limits_(options.limits),
      credentials_(options.credentials ? std::move(options.credentials) : no_credentials()),
      throttle_groups_(options.throttle_groups ? std::move(options.throttle_groups)
                                               : no_throttle_groups()) {
  starter_.graph = this;
  starter_.run = [](Posted& work) noexcept {
    Starter& starter = static_cast<Starter&>(work);
    starter.queued = false;
    starter.graph->start_pending();
  };
}

GraphState::~GraphState() {
  assert(!starter_.queued && pending_.empty() && "await Graph::close() first");
  assert(nodes_.empty() && "references to nodes outlive the graph");
  assert(users_.empty() && "references to backends outlive the graph");
}

const DriverSpec* GraphState::find_driver(std::string_view name) const noexcept {
  for (const DriverSpec* spec : drivers_) {
    if (spec->name == name) return spec;
  }
  return nullptr;
}

Result<void> GraphState::check_name(std::string_view name) const {
  if (!is_valid_name(name)) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("name \"{}\" is not a letter and at most 30 letters, digits, "
                                  "\"-\", \".\" or \"_\"",
                                  name))
                    .because("name-invalid", {std::string(name)}));
  }
  const char* holder = node_names_.contains(name)   ? "node"
                       : user_names_.contains(name) ? "backend"
                                                    : nullptr;
  if (holder == nullptr) return ok();
  return fail(Error(ErrorCode::kExists, fmt::format("name \"{}\" is taken by a {}", name, holder))
                  .because("name-taken", {std::string(name), holder}));
}

Result<NodeRef> GraphState::add_node(std::string name, const DriverSpec& spec,
                                     const OpenFlags& flags) {
  if (name.empty()) {
    // Users cannot take names with '#'.
    name = fmt::format("#block{:03}", next_auto_name_++);
  } else if (Result<void> free = check_name(name); !free) {
    return fail(free.error());
  }
  if (nodes_.size() >= limits_.nodes) {
    return fail(Error(ErrorCode::kTooLarge,
                      fmt::format("the graph has {} nodes, which is its limit", nodes_.size()))
                    .because("graph-nodes", {std::to_string(limits_.nodes)}));
  }
  auto node = std::make_unique<GraphNode>(*this, name, spec, flags);
  GraphNode& added = *node;
  added.serial_ = next_serial_++;
  nodes_.emplace(added.serial_, std::move(node));
  node_names_.emplace(std::move(name), &added);
  return NodeRef(&added);
}

void GraphState::finish_open(GraphNode& node, std::unique_ptr<Driver> driver) {
  assert(node.state_ == GraphNode::State::kOpening);
  node.driver_ = std::move(driver);
  node.format_ = node.driver_->format();
  node.info_ = node.driver_->info();
  node.size_.store(node.info_.size);
  node.state_ = GraphNode::State::kOpen;
}

GraphNode* GraphState::find_node(std::string_view name) const noexcept {
  const auto found = node_names_.find(name);
  if (found == node_names_.end()) return nullptr;
  return found->second->state_ == GraphNode::State::kOpen ? found->second : nullptr;
}

std::vector<GraphNode*> GraphState::nodes() const {
  std::vector<GraphNode*> open;
  for (const auto& [serial, node] : nodes_) {
    if (node->state_ == GraphNode::State::kOpen) open.push_back(node.get());
  }
  return open;
}

void GraphState::unreference(GraphNode& node) noexcept {
  assert(node.references_ > 0);
  if (--node.references_ > 0 || !node.parents_.empty()) return;
  if (node.state_ == GraphNode::State::kClosed) {
    drop(node);
  } else if (node.state_ != GraphNode::State::kClosing) {
    begin_close(node);
    background(close_retired(node));
  }
}

void GraphState::begin_close(GraphNode& node) noexcept {
  if (node.state_ >= GraphNode::State::kClosing) return;
  node.state_ = GraphNode::State::kClosing;
  node_names_.erase(node.name_);
}

/// Each in a task of its own: a close that hangs holds up no other.
Task<void> GraphState::close_retired(GraphNode& node) {
  Result<void> closed = co_await close_node(node);
  if (!closed) note_close_error(closed.error());
}

Task<Result<void>> GraphState::close_node(GraphNode& node) {
  assert(node.parents_.empty());
  begin_close(node);
  Result<void> closed = ok();
  if (node.driver_) {  // an open that went wrong has none
    Result<void> saved = co_await save_bitmaps(node);
    closed = co_await node.driver_->close();
    if (closed) closed = saved;
    if (!closed) closed = fail(closed.error().within("close node", node.name_));
  }
  while (!node.children_.empty()) {
    Transaction loosen(*this);
    loosen.remove_edge(*node.children_.back());
    // Whoever asks for less is never refused; a lock that cannot be let go does no harm.
    (void)loosen.apply();
    loosen.commit();
  }
  node.state_ = GraphNode::State::kClosed;
  if (node.references_ == 0) drop(node);
  co_return closed;
}

Task<Result<void>> GraphState::close_unused(std::vector<NodeRef> nodes) {
  std::map<GraphNode*, NodeRef> held;
  std::vector<GraphNode*> open;
  const auto hold = [&held, &open](NodeRef ref) {
    auto* node = static_cast<GraphNode*>(ref.get());
    open.push_back(node);
    held.try_emplace(node, std::move(ref));
  };
  for (NodeRef& ref : nodes) hold(std::move(ref));
  nodes.clear();
  Result<void> first = ok();
  while (!open.empty()) {
    GraphNode& node = *open.back();
    open.pop_back();
    // One that still has parents comes up again when the last of those here has closed.
    const bool unused = node.parents_.empty() && node.references_ == 1;
    if (!unused || node.state_ >= GraphNode::State::kClosing) continue;
    for (const auto& edge : node.edges()) {
      if (edge->child() != nullptr) hold(NodeRef(edge->child()));
    }
    Result<void> closed = co_await close_node(node);
    if (!closed && first) first = closed;
  }
  co_return first;
}

void GraphState::drop(GraphNode& node) noexcept { nodes_.erase(node.serial_); }

RootUser& GraphState::add_user(std::unique_ptr<RootUser> user) {
  return *users_.emplace_back(std::move(user));
}

void GraphState::remove_user(RootUser& user) noexcept {
  std::erase_if(users_, [&user](const auto& owned) { return owned.get() == &user; });
}

void GraphState::note_user_name(std::string_view name, RootUser& user) {
  user_names_.emplace(name, &user);
}

void GraphState::forget_user_name(std::string_view name) noexcept {
  const auto found = user_names_.find(name);
  if (found != user_names_.end()) user_names_.erase(found);
}

RootUser* GraphState::find_user(std::string_view name) const noexcept {
  const auto found = user_names_.find(name);
  return found == user_names_.end() ? nullptr : found->second;
}

std::vector<RootUser*> GraphState::users() const {
  std::vector<RootUser*> all;
  all.reserve(users_.size());
  for (const auto& user : users_) all.push_back(user.get());
  return all;
}

void GraphState::background(Task<void> task) {
  pending_.push_back(std::move(task));
  if (std::exchange(starter_.queued, true)) return;
  runtime_.control_loop().post(starter_);
}

void GraphState::start_pending() {
  while (!pending_.empty()) {
    std::vector<Task<void>> started = std::exchange(pending_, {});
    for (Task<void>& task : started) scope_.spawn(std::move(task));
  }
}

Task<void> GraphState::settle() {
  do {
    start_pending();
    co_await scope_.join();
    // What is posted refers to this object: let it run before anybody destroys it.
    while (starter_.queued || reports_.load() != 0) co_await yield();
  } while (!pending_.empty() || scope_.running() != 0);
}

void GraphState::note_close_error(Error error) {
  if (!close_error_) close_error_ = std::move(error);
}

Task<Result<void>> GraphState::close() {
  while (true) {
    const auto user = std::find_if(users_.begin(), users_.end(),
                                   [](const auto& one) { return !one->is_shut_down(); });
    if (user == users_.end()) break;
    Result<void> emptied = co_await (*user)->shut_down();
    if (!emptied) note_close_error(emptied.error());
  }
  co_await settle();
  // What is left is held by references only, or below such a node. Parents first.
  while (true) {
    const auto root = std::find_if(nodes_.begin(), nodes_.end(), [](const auto& entry) {
      const GraphNode& node = *entry.second;
      return node.parents_.empty() && node.state_ == GraphNode::State::kOpen;
    });
    if (root == nodes_.end()) break;
    Result<void> closed = co_await close_node(*root->second);
    if (!closed) note_close_error(closed.error());
    co_await settle();
  }
  if (close_error_) co_return fail(std::exchange(close_error_, std::nullopt).value());
  co_return ok();
}

/// Goes to the control loop by itself: nobody waits for it.
struct GraphState::CorruptionReport : Posted {
  CorruptionReport(GraphState& graph, std::string node, Error error)
      : graph_(graph), node_(std::move(node)), error_(std::move(error)) {
    run = [](Posted& work) noexcept {
      const std::unique_ptr<CorruptionReport> report(&static_cast<CorruptionReport&>(work));
      report->deliver();
    };
  }

 private:
  void deliver() {
    if (GraphNode* node = graph_.find_node(node_)) {
      for (RootUser* user : users_above(*node)) user->corruption_found(node_, error_);
    }
    graph_.reports_.fetch_sub(1);
  }

  GraphState& graph_;
  std::string node_;
  Error error_;
};

void GraphState::report_corruption(const std::string& node, const Error& error) {
  reports_.fetch_add(1);
  auto report = std::make_unique<CorruptionReport>(*this, node, error);
  runtime_.control_loop().post(*report.release());
}

struct GraphState::ThresholdReport : Posted {
  ThresholdReport(GraphState& graph, std::string node, WriteWatch::Exceeded exceeded)
      : graph_(graph), node_(std::move(node)), exceeded_(exceeded) {
    run = [](Posted& work) noexcept {
      const std::unique_ptr<ThresholdReport> report(&static_cast<ThresholdReport&>(work));
      report->deliver();
    };
  }

 private:
  void deliver() {
    GraphNode* node = graph_.find_node(node_);
    if (node != nullptr && node->watch().listener()) node->watch().listener()(node_, exceeded_);
    graph_.reports_.fetch_sub(1);
  }

  GraphState& graph_;
  std::string node_;
  WriteWatch::Exceeded exceeded_;
};

void GraphState::report_threshold(const std::string& node, WriteWatch::Exceeded exceeded) {
  reports_.fetch_add(1);
  auto report = std::make_unique<ThresholdReport>(*this, node, exceeded);
  runtime_.control_loop().post(*report.release());
}

}  // namespace ashlar
