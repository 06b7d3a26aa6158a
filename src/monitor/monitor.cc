// What monitors share, and how commands run.
#include "monitor/monitor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "monitor/driver_types.h"
#include "monitor/errors.h"
#include "monitor/introspection.h"
#include "monitor/result_types.h"

namespace ashlar::monitor {
namespace {

void define_types(Types& types, const Graph& graph, std::span<const ExportSpec* const> exports) {
  types.define_object("empty", "");
  types.define_enum("JobStatus", {"undefined", "created", "running", "paused", "ready", "standby",
                                  "waiting", "pending", "aborting", "concluded", "null"});
  types.define_enum("OnReadError", {"report", "ignore", "stop"});
  types.define_enum("OnWriteError", {"report", "ignore", "stop", "enospc"});
  define_socket_types(types);
  define_driver_types(types, graph.drivers());
  define_export_types(types, exports);
  define_object_types(types);
  define_nbd_types(types);
  define_transaction_types(types);
  define_chardev_types(types);
  define_result_types(types);
}

}  // namespace

const Type& arguments_type(Types& types, const Command& command) {
  if (command.arguments.starts_with('@')) return types.type(command.arguments.substr(1));
  const std::string name = "arguments of " + std::string(command.name);
  const Type& known = types.type(name);
  if (known.kind == Type::Kind::kObject) return known;
  return types.define_object(name, command.arguments);
}

Monitor::Monitor(Setup setup)
    : setup_(std::move(setup)),
      jobs_(events_, setup_.wording.error),
      exports_(setup_.graph, setup_.exports, *this) {
  define_types(types_, setup_.graph, setup_.exports);
  const std::array tables{protocol_commands(),    query_commands(),       node_commands(),
                          backend_commands(),     export_commands(),      object_commands(),
                          nbd_commands(),         throttle_commands(),    job_commands(),
                          transaction_commands(), node_tuning_commands(), chardev_commands()};
  for (const std::span<const Command> table : tables) {
    for (const Command& command : table) commands_.push_back(&command);
  }
}

Monitor::~Monitor() = default;

const Command* Monitor::find_command(std::string_view name) const {
  const auto found = std::ranges::find(commands_, name, &Command::name);
  return found == commands_.end() ? nullptr : *found;
}

Task<Result<Json>> Monitor::execute(const Command& command, JsonInput arguments, Source source) {
  const Type& type = arguments_type(types_, command);
  std::optional<std::string> problem = check_members(type, arguments, {}, source);
  if (problem) co_return refuse(std::move(*problem));
  co_return co_await command.run(*this, std::move(arguments));
}

namespace {

/// A flat dictionary as the tree that the checks want.
Result<JsonInput> to_tree(const OptionDict& options) {
  constexpr size_t kPrefix = std::string_view("json:").size();
  const std::string text = options.to_json_name();
  std::expected<JsonInput, std::string> tree = parse_json(std::string_view(text).substr(kPrefix));
  if (!tree) return refuse(tree.error());
  return std::move(*tree);
}

}  // namespace

Task<Result<Json>> Monitor::execute_options(std::string_view name, OptionDict options,
                                            Source source) {
  const Command* command = find_command(name);
  if (command == nullptr) co_return refuse(fmt::format("there is no command {}", name));
  Result<JsonInput> arguments = to_tree(options);
  if (!arguments) co_return fail(arguments.error());
  co_return co_await execute(*command, std::move(*arguments), source);
}

Task<Result<void>> Monitor::start_nbd_server(const OptionDict& options, Source source) {
  Result<JsonInput> arguments = to_tree(options);
  if (!arguments) co_return fail(arguments.error());
  std::optional<std::string> problem =
      check_members(types_.type("NbdServerOptions"), *arguments, {}, source);
  if (problem) co_return refuse(std::move(*problem));
  co_return co_await nbd_.start(*this, std::move(*arguments));
}

Result<Json> Monitor::schema() { return describe_schema(types_, commands_); }

void Monitor::own_node(NodeRef node) {
  const std::string name = node->name();
  nodes_[name] = std::move(node);
}

void Monitor::disown_node(std::string_view name) {
  const auto found = nodes_.find(name);
  if (found != nodes_.end()) nodes_.erase(found);
}

Result<void> Monitor::add_backend(const std::string& id, BackendRecord record) {
  record.backend->set_observer(this);
  set_policies(*record.backend, record.policies);
  backends_[id] = std::move(record);
  backend_order_.push_back(id);
  return ok();
}

Monitor::BackendRecord* Monitor::find_backend(std::string_view id) {
  const auto found = backends_.find(id);
  return found == backends_.end() ? nullptr : &found->second;
}

void Monitor::forget_backend(std::string_view id) {
  const auto found = backends_.find(id);
  if (found == backends_.end()) return;
  std::erase(backend_order_, found->first);
  backends_.erase(found);
}

void Monitor::set_policies(Backend& backend, Policies policies) {
  backend.set_error_policy(policies.on_read, policies.on_write);
}

std::shared_ptr<ThrottleGroup> Monitor::throttle_group(const std::string& name) {
  if (std::shared_ptr<ThrottleGroup> object = objects().throttle_group(name)) return object;
  std::erase_if(shared_groups_, [](const auto& each) { return each.second.expired(); });
  std::weak_ptr<ThrottleGroup>& known = shared_groups_[name];
  if (std::shared_ptr<ThrottleGroup> group = known.lock()) return group;
  std::shared_ptr<ThrottleGroup> group = ThrottleGroup::create(name);
  known = group;
  return group;
}

void Monitor::resume_all() {
  stopped_ = false;
  for (auto& [name, record] : backends_) {
    record.io_status = BackendRecord::Status::kOk;
    record.backend->resume();
  }
  for (const ExportRegistry::Listed& each : exports_.list()) each.backend->resume();
}

void Monitor::backend_made(Backend& backend) {
  backend.set_observer(this);
  set_policies(backend, {ErrorPolicy::kReport, ErrorPolicy::kReport});
}

void Monitor::export_deleted(const std::string& id, Backend& backend) {
  if (const BackendRecord* record = find_backend(backend.name())) {
    set_policies(backend, record->policies);
  }
  events_.emit("BLOCK_EXPORT_DELETED", {{"id", id}});
}

void Monitor::io_error(const IoErrorEvent& event) {
  const bool no_space = event.error.code() == ErrorCode::kNoSpace;
  const bool stop = event.action == ErrorPolicy::kStop;
  if (BackendRecord* record = find_backend(event.backend->name())) {
    using Status = BackendRecord::Status;
    if (record->io_status == Status::kOk) {
      record->io_status = no_space ? Status::kNoSpace : Status::kFailed;
    }
  }
  const bool ignored = event.action == ErrorPolicy::kIgnore;
  Json data = {{"qom-path", ""},
               {"device", event.backend->name()},
               {"node-name", event.node},
               {"operation", event.operation == IoErrorEvent::Operation::kRead ? "read" : "write"},
               {"action", stop      ? "stop"
                          : ignored ? "ignore"
                                    : "report"},
               {"nospace", no_space},
               {"reason", text(event.error)}};
  events_.emit("BLOCK_IO_ERROR", std::move(data));
  if (stop && !std::exchange(stopped_, true)) events_.emit("STOP", Json::object());
}

void Monitor::image_corrupted(const CorruptionEvent& event) {
  Json data = {{"device", event.backend->name()},
               {"node-name", event.node},
               {"msg", text(event.error)},
               {"fatal", true}};
  events_.emit("BLOCK_IMAGE_CORRUPTED", std::move(data));
}

Task<Result<void>> Monitor::close() {
  co_await exports_.close();
  co_await nbd_.close();
  co_await jobs_.close();
  Result<void> closed = co_await setup_.graph.close();
  for (auto& [name, record] : backends_) record.backend->set_observer(nullptr);
  backends_.clear();
  backend_order_.clear();
  nodes_.clear();
  co_await events_.close();
  co_return closed;
}

}  // namespace ashlar::monitor
