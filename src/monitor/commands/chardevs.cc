// Commands about channels.
#include <fmt/format.h>

#include <array>

#include "monitor/base64.h"
#include "monitor/chardev_host.h"
#include "monitor/errors.h"
#include "monitor/monitor.h"

namespace ashlar::monitor {
namespace {

Result<ChardevHost*> host_of(const Monitor& monitor) {
  if (monitor.chardevs() != nullptr) return monitor.chardevs();
  return refuse("This program has no character devices", ErrorCode::kUnsupported);
}

std::string id_of(const JsonInput& arguments) { return arguments["id"].get<std::string>(); }

Json made_answer(const std::optional<std::string>& terminal) {
  Json answer = Json::object();
  if (terminal) answer["pty"] = *terminal;
  return answer;
}

Task<Result<Json>> add(Monitor& monitor, JsonInput arguments) {
  const Result<ChardevHost*> host = host_of(monitor);
  if (!host) co_return fail(host.error());
  const auto made = co_await (*host)->add_chardev(id_of(arguments), arguments["backend"]);
  if (!made) co_return fail(made.error());
  co_return made_answer(*made);
}

Task<Result<Json>> change(Monitor& monitor, JsonInput arguments) {
  const Result<ChardevHost*> host = host_of(monitor);
  if (!host) co_return fail(host.error());
  const auto made = co_await (*host)->change_chardev(id_of(arguments), arguments["backend"]);
  if (!made) co_return fail(made.error());
  co_return made_answer(*made);
}

Task<Result<Json>> remove(Monitor& monitor, JsonInput arguments) {
  const Result<ChardevHost*> host = host_of(monitor);
  if (!host) co_return fail(host.error());
  const Result<void> removed = (*host)->remove_chardev(id_of(arguments));
  if (!removed) co_return fail(removed.error());
  co_return nothing();
}

/// A break is for serial lines, of which there are none: others take no notice of it.
Task<Result<Json>> send_break(Monitor& monitor, JsonInput arguments) {
  const Result<ChardevHost*> host = host_of(monitor);
  if (!host) co_return fail(host.error());
  const Result<void> known = (*host)->check_chardev(id_of(arguments));
  if (!known) co_return fail(known.error());
  co_return nothing();
}

Task<Result<Json>> query(Monitor& monitor, JsonInput) {
  Json list = Json::array();
  if (monitor.chardevs() == nullptr) co_return list;
  using Listed = ChardevHost::Listed;
  for (const Listed& each : monitor.chardevs()->list_chardevs()) {
    Json row = {{"frontend-open", each.frontend == Listed::Frontend::kOpen},
                {"filename", each.filename},
                {"label", each.label}};
    list.push_back(std::move(row));
  }
  co_return list;
}

constexpr std::array<std::string_view, 8> kBackends{"file", "memory",  "null",   "pipe",
                                                    "pty",  "ringbuf", "socket", "stdio"};

Task<Result<Json>> query_backends(Monitor&, JsonInput) {
  Json list = Json::array();
  for (const std::string_view name : kBackends) {
    Json row = Json::object();
    row["name"] = name;
    list.push_back(std::move(row));
  }
  co_return list;
}

Task<Result<Json>> ring_write(Monitor& monitor, JsonInput arguments) {
  const Result<ChardevHost*> host = host_of(monitor);
  if (!host) co_return fail(host.error());
  std::string data = arguments["data"].get<std::string>();
  if (arguments.value("format", std::string("utf8")) == "base64") {
    Result<std::string> decoded = decode_base64(data);
    if (!decoded) co_return fail(decoded.error());
    data = std::move(*decoded);
  }
  const std::string device = arguments["device"].get<std::string>();
  const Result<void> written = (*host)->write_ring(device, data);
  if (!written) co_return fail(written.error());
  co_return nothing();
}

Task<Result<Json>> ring_read(Monitor& monitor, JsonInput arguments) {
  const Result<ChardevHost*> host = host_of(monitor);
  if (!host) co_return fail(host.error());
  const int64_t size = arguments["size"].get<int64_t>();
  if (size <= 0) co_return refuse("size must be greater than zero");
  const std::string device = arguments["device"].get<std::string>();
  const Result<std::string> data = (*host)->read_ring(device, static_cast<size_t>(size));
  if (!data) co_return fail(data.error());
  const bool base64 = arguments.value("format", std::string("utf8")) == "base64";
  co_return Json(base64 ? encode_base64(*data) : *data);
}

constexpr Command kCommands[] = {
    {"chardev-add", "id:str, backend:ChardevBackend", "ChardevReturn", add, "makes a channel"},
    {"chardev-change", "id:str, backend:ChardevBackend", "ChardevReturn", change,
     "puts another channel in the place of one that nobody uses"},
    {"chardev-remove", "id:str", "", remove, "removes a channel that nobody uses"},
    {"chardev-send-break", "id:str", "", send_break, "sends a break"},
    {"query-chardev", "", "[ChardevInfo]", query, "the channels there are"},
    {"query-chardev-backends", "", "[ChardevBackendInfo]", query_backends, "the kinds of channels"},
    {"ringbuf-write", "device:str, data:str, *format:(utf8 base64)", "", ring_write,
     "writes to a buffer in memory"},
    {"ringbuf-read", "device:str, size:int, *format:(utf8 base64)", "str", ring_read,
     "reads from a buffer in memory"},
};

struct BackendRow {
  std::string_view type;
  std::string_view members;
};
constexpr BackendRow kBackendTypes[] = {
    {"file", "out:str, *in:str, *append:bool"},
    {"memory", "*size:int"},
    {"null", ""},
    {"pipe", "device:str"},
    {"pty", ""},
    {"ringbuf", "*size:int"},
    {"socket", "addr:SocketAddressLegacy, *server:bool, *wait:bool, *nodelay:bool, *reconnect:int"},
    {"stdio", "*signal:bool"},
};

}  // namespace

std::span<const Command> chardev_commands() { return kCommands; }

void define_chardev_types(Types& types) {
  types.define_object("ChardevReturn", "*pty:str");
  types.define_object("ChardevInfo", "label:str, filename:str, frontend-open:bool");
  types.define_object("ChardevBackendInfo", "name:str");
  std::vector<std::string> names(kBackends.begin(), kBackends.end());
  types.define_enum("ChardevBackendKind", std::move(names));
  Type& backend = types.define_object("ChardevBackend", "type:ChardevBackendKind");
  backend.tag = "type";
  for (const BackendRow& row : kBackendTypes) {
    const std::string name = fmt::format("ChardevBackend/{}", row.type);
    types.define_object(name + "/data", row.members);
    const std::string data = fmt::format("data:{}/data", name);
    backend.cases[std::string(row.type)] = &types.define_object(name, data);
  }
}

}  // namespace ashlar::monitor
