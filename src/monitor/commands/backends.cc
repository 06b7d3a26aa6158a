// Commands about named backends: their life, their medium, and what becomes of failed requests.
#include <fmt/format.h>

#include "monitor/errors.h"
#include "monitor/monitor.h"
#include "monitor/option_dict.h"

namespace ashlar::monitor {
namespace {

using Record = Monitor::BackendRecord;

std::string id_of(const JsonInput& arguments) { return arguments["id"].get<std::string>(); }

Backend::Eject eject_of(const JsonInput& arguments) {
  return arguments.value("force", false) ? Backend::Eject::kForce : Backend::Eject::kAsk;
}

/// What "id" names: a backend, or the backend of an export of that id.
std::string backend_name(Monitor& monitor, const std::string& id) {
  if (monitor.find_backend(id) != nullptr) return id;
  const BackendRef exported = monitor.exports().backend_of(id);
  return exported ? exported->name() : std::string();
}

Task<Result<Json>> backend_add(Monitor& monitor, JsonInput arguments) {
  const std::string id = id_of(arguments);
  Record record;
  take_policies(arguments, record.policies);
  record.removable = arguments.value("removable", true);
  Result<BackendRef> made = monitor.graph().create_backend(id);
  if (!made) co_return fail(made.error());
  record.backend = *made;
  if (arguments.contains("node-name")) {
    const std::string name = arguments["node-name"].get<std::string>();
    Node* node = monitor.graph().find_node(name);
    if (node == nullptr) {
      co_return refuse(fmt::format("Failed to find node with node-name='{}'", name),
                       ErrorCode::kNotFound);
    }
    NodeRef medium(node);
    Result<void> inserted = co_await (*made)->insert_medium(std::move(medium));
    if (!inserted) co_return fail(inserted.error());
    record.read_only = node->flags().read_only;
  }
  Result<void> added = monitor.add_backend(id, std::move(record));
  if (!added) co_return fail(added.error());
  co_return nothing();
}

/// drive_del: name and medium go at once, whatever device is attached.
Task<Result<Json>> backend_del(Monitor& monitor, JsonInput arguments) {
  const std::string id = id_of(arguments);
  const Record* record = monitor.find_backend(id);
  if (record == nullptr) co_return device_not_found(id);
  const BackendRef backend = record->backend;
  monitor.forget_backend(id);
  Result<void> removed = co_await backend->remove();
  if (!removed) co_return fail(removed.error());
  Json data = {{"id", id}};
  monitor.events().emit("BACKEND_DELETED", std::move(data));
  co_return nothing();
}

void tell_of_tray(Monitor& monitor, const std::string& id, const Backend& backend) {
  const DeviceCallbacks* device = backend.device();
  if (device == nullptr || !device->has_tray()) return;
  Json data = {{"device", id}, {"id", device->describe()}, {"tray-open", device->tray_open()}};
  monitor.events().emit("DEVICE_TRAY_MOVED", std::move(data));
}

bool tray_is_open(const Backend& backend) {
  const DeviceCallbacks* device = backend.device();
  return device != nullptr && device->has_tray() && device->tray_open();
}

/// Runs a change of the medium and tells of the tray where it has moved.
Task<Result<void>> with_tray(Monitor& monitor, std::string id, Backend& backend,
                             Task<Result<void>> change) {
  const bool was_open = tray_is_open(backend);
  Result<void> changed = co_await change;
  if (tray_is_open(backend) != was_open) tell_of_tray(monitor, id, backend);
  co_return changed;
}

Result<void> open_tray_of(Monitor& monitor, const std::string& id, Record& record,
                          Backend::Eject how) {
  if (!record.removable) return refuse(fmt::format("Device '{}' is not removable", id));
  DeviceCallbacks* device = record.backend->device();
  if (device == nullptr || !device->has_tray() || device->tray_open()) return ok();
  if (device->tray_locked() && how == Backend::Eject::kAsk) {
    (void)device->eject_requested();
    return refuse(fmt::format("Device '{}' is locked and force was not specified, wait for tray to "
                              "open and try again",
                              id),
                  ErrorCode::kBusy);
  }
  device->tray_moved(true);
  tell_of_tray(monitor, id, *record.backend);
  return ok();
}

Task<Result<Json>> open_tray(Monitor& monitor, JsonInput arguments) {
  const std::string id = backend_name(monitor, id_of(arguments));
  Record* record = monitor.find_backend(id);
  if (record == nullptr) co_return device_not_found(id_of(arguments));
  const DeviceCallbacks* device = record->backend->device();
  if (record->removable && (device == nullptr || !device->has_tray())) {
    co_return refuse(fmt::format("Device '{}' does not have a tray", id));
  }
  Result<void> opened = open_tray_of(monitor, id, *record, eject_of(arguments));
  if (!opened) co_return fail(opened.error());
  co_return nothing();
}

Task<Result<Json>> close_tray(Monitor& monitor, JsonInput arguments) {
  const std::string id = backend_name(monitor, id_of(arguments));
  Record* record = monitor.find_backend(id);
  if (record == nullptr) co_return device_not_found(id_of(arguments));
  if (!record->removable) co_return refuse(fmt::format("Device '{}' is not removable", id));
  DeviceCallbacks* device = record->backend->device();
  if (device == nullptr || !device->has_tray() || !device->tray_open()) co_return nothing();
  device->tray_moved(false);
  tell_of_tray(monitor, id, *record->backend);
  co_return nothing();
}

/// Nothing to be done when it is empty already.
Task<Result<Json>> eject(Monitor& monitor, JsonInput arguments) {
  const std::string id = backend_name(monitor, id_of(arguments));
  Record* record = monitor.find_backend(id);
  if (record == nullptr) co_return device_not_found(id_of(arguments));
  if (!record->removable) co_return refuse(fmt::format("Device '{}' is not removable", id));
  const BackendRef backend = record->backend;
  Result<void> done =
      co_await with_tray(monitor, id, *backend, backend->eject_medium(eject_of(arguments)));
  if (!done) co_return fail(done.error());
  co_return nothing();
}

Task<Result<Json>> remove_medium(Monitor& monitor, JsonInput arguments) {
  const std::string id = backend_name(monitor, id_of(arguments));
  Record* record = monitor.find_backend(id);
  if (record == nullptr) co_return device_not_found(id_of(arguments));
  if (!record->removable) co_return refuse(fmt::format("Device '{}' is not removable", id));
  const BackendRef backend = record->backend;
  const DeviceCallbacks* device = backend->device();
  if (device != nullptr && device->has_tray() && !device->tray_open()) {
    co_return refuse(fmt::format("Tray of device '{}' is not open", id), ErrorCode::kBusy);
  }
  Result<void> done = co_await backend->eject_medium(Backend::Eject::kForce);
  if (!done) co_return fail(done.error());
  co_return nothing();
}

Task<Result<Json>> insert_medium(Monitor& monitor, JsonInput arguments) {
  const std::string id = backend_name(monitor, id_of(arguments));
  Record* record = monitor.find_backend(id);
  if (record == nullptr) co_return device_not_found(id_of(arguments));
  if (!record->removable) co_return refuse(fmt::format("Device '{}' is not removable", id));
  const BackendRef backend = record->backend;
  const std::string name = arguments["node-name"].get<std::string>();
  Node* node = monitor.graph().find_node(name);
  if (node == nullptr) {
    co_return refuse(fmt::format("Failed to find node with node-name='{}'", name),
                     ErrorCode::kNotFound);
  }
  if (backend->has_medium()) {
    co_return refuse("There already is a medium in the device", ErrorCode::kBusy);
  }
  record->read_only = node->flags().read_only;
  record->io_status = Record::Status::kOk;
  NodeRef medium(node);
  Result<void> done = co_await backend->insert_medium(std::move(medium));
  if (!done) co_return fail(done.error());
  co_return nothing();
}

bool opens_read_only(const JsonInput& arguments, const Record& record) {
  const std::string mode = arguments.value("read-only-mode", std::string("retain"));
  if (mode == "retain") return record.read_only;
  return mode == "read-only";
}

/// The new image is opened first: when that fails, the old medium stays.
Task<Result<Json>> change_medium(Monitor& monitor, JsonInput arguments) {
  const std::string id = backend_name(monitor, id_of(arguments));
  Record* record = monitor.find_backend(id);
  if (record == nullptr) co_return device_not_found(id_of(arguments));
  if (!record->removable) co_return refuse(fmt::format("Device '{}' is not removable", id));
  const BackendRef backend = record->backend;
  Graph::Image image;
  image.filename = arguments["filename"].get<std::string>();
  if (arguments.contains("format")) image.format = arguments["format"].get<std::string>();
  image.flags.read_only = opens_read_only(arguments, *record);
  Result<NodeRef> opened = co_await monitor.graph().open_image(std::move(image));
  if (!opened) co_return fail(opened.error());
  const bool read_only = (*opened)->flags().read_only;
  Task<Result<void>> change = backend->change_medium(std::move(*opened), eject_of(arguments));
  Result<void> done = co_await with_tray(monitor, id, *backend, std::move(change));
  if (!done) co_return fail(done.error());
  record = monitor.find_backend(id);  // it may have been deleted meanwhile
  if (record != nullptr) {
    record->read_only = read_only;
    record->io_status = Record::Status::kOk;
  }
  co_return nothing();
}

Task<Result<Json>> set_policy(Monitor& monitor, JsonInput arguments) {
  const std::string id = id_of(arguments);
  Record* record = monitor.find_backend(id);
  if (record != nullptr) {
    take_policies(arguments, record->policies);
    monitor.set_policies(*record->backend, record->policies);
    co_return nothing();
  }
  const BackendRef exported = monitor.exports().backend_of(id);
  if (!exported) co_return device_not_found(id);
  Monitor::Policies policies{ErrorPolicy::kReport, ErrorPolicy::kReport};
  take_policies(arguments, policies);
  monitor.set_policies(*exported, policies);
  co_return nothing();
}

Task<Result<Json>> resume_one(Monitor& monitor, JsonInput arguments) {
  const std::string id = id_of(arguments);
  Record* record = monitor.find_backend(id);
  if (record != nullptr) record->io_status = Record::Status::kOk;
  const BackendRef backend = record != nullptr ? record->backend : monitor.exports().backend_of(id);
  if (!backend) co_return device_not_found(id);
  backend->resume();
  co_return nothing();
}

constexpr Command kCommands[] = {
    {"backend-add",
     "id:str, *node-name:str, *removable:bool, *on-read-error:OnReadError, "
     "*on-write-error:OnWriteError",
     "", backend_add, "makes a named backend, empty or with a medium"},
    {"backend-del", "id:str", "", backend_del,
     "takes name and medium of a backend away at once, also from under a device"},
    {"backend-set-error-policy", "id:str, *on-read-error:OnReadError, *on-write-error:OnWriteError",
     "", set_policy, "what becomes of failed requests"},
    {"backend-resume", "id:str", "", resume_one, "lets requests that an error stopped try again",
     Command::Oob::kAllowed},
    {"eject", "id:str, *force:bool", "", eject, "opens the tray and takes the medium out"},
    {"blockdev-open-tray", "id:str, *force:bool", "", open_tray, "opens a tray"},
    {"blockdev-close-tray", "id:str", "", close_tray, "closes a tray"},
    {"blockdev-remove-medium", "id:str", "", remove_medium, "takes the medium out of an open tray"},
    {"blockdev-insert-medium", "id:str, node-name:str", "", insert_medium,
     "puts a node into an empty backend"},
    {"blockdev-change-medium",
     "id:str, filename:str, *format:str, *read-only-mode:(retain read-only read-write), "
     "*force:bool",
     "", change_medium, "opens an image and puts it in the place of the medium"},
};

}  // namespace

std::span<const Command> backend_commands() { return kCommands; }

}  // namespace ashlar::monitor
