// Commands for people that change backends, media, exports and objects.
#include <fmt/format.h>

#include "tools/storage_daemon/human_session.h"

namespace ashlar::tools {
namespace {

using monitor::JsonInput;
using monitor::Monitor;
using Words = std::vector<std::string>;

std::string error_line(const Monitor& monitor, const Error& error) {
  return fmt::format("Error: {}\n", monitor.text(error));
}

/// Takes "if", "id" and the like of a -drive; the rest are options of the image.
struct Drive {
  JsonInput backend = JsonInput::object();
  Graph::Image image;
};

Result<Drive> parse_drive(const std::string& text) {
  Result<OptionDict> options = OptionDict::parse_key_value(text);
  if (!options) return fail(options.error());
  Drive drive;
  (void)options->take_text("if");
  drive.backend["id"] = options->take_text("id").value_or("");
  for (const auto& [from, to] :
       {std::pair{"rerror", "on-read-error"}, std::pair{"werror", "on-write-error"}}) {
    if (std::optional<std::string> word = options->take_text(from)) drive.backend[to] = *word;
  }
  drive.image.filename = options->take_text("file").value_or("");
  drive.image.format = options->take_text("format");
  for (const char* name : {"readonly", "read-only"}) {
    Result<std::optional<bool>> value = options->take_switch(name);
    if (!value) return fail(value.error());
    if (*value) drive.image.flags.read_only = **value;
  }
  drive.image.options = std::move(*options);
  return drive;
}

/// Opens the image and makes the backend, whose medium it is: both go with drive_del.
Task<std::string> drive_add(Monitor& monitor, Words words) {
  // The first word says where on a bus; there is none.
  Result<Drive> drive = parse_drive(words.back());
  if (!drive) co_return error_line(monitor, drive.error());
  const std::string id = drive->backend["id"].get<std::string>();
  if (id.empty()) co_return std::string("Error: drive_add needs id=ID\n");
  NodeRef node;
  if (!drive->image.filename.empty()) {
    Result<NodeRef> opened = co_await monitor.graph().open_image(std::move(drive->image));
    if (!opened) co_return error_line(monitor, opened.error());
    node = std::move(*opened);
    drive->backend["node-name"] = node->name();
  }
  std::string failed = co_await run_quietly(monitor, "backend-add", drive->backend);
  co_return failed.empty() ? std::string("OK\n") : failed;
}

Task<std::string> drive_del(Monitor& monitor, Words words) {
  JsonInput arguments = {{"id", words[0]}};
  co_return co_await run_quietly(monitor, "backend-del", std::move(arguments));
}

Task<std::string> eject(Monitor& monitor, Words words) {
  const bool force = words[0] == "-f";
  if (force && words.size() == 1) co_return std::string("usage: eject [-f] ID\n");
  JsonInput arguments = {{"id", words.back()}, {"force", force}};
  co_return co_await run_quietly(monitor, "eject", std::move(arguments));
}

Task<std::string> change(Monitor& monitor, Words words) {
  bool force = false;
  if (words[0] == "-f") {
    force = true;
    words.erase(words.begin());
  }
  if (words.size() < 2) co_return std::string("usage: change [-f] ID FILE [FORMAT [MODE]]\n");
  JsonInput arguments = {{"id", words[0]}, {"filename", words[1]}, {"force", force}};
  if (words.size() > 2) arguments["format"] = words[2];
  if (words.size() > 3) arguments["read-only-mode"] = words[3];
  co_return co_await run_quietly(monitor, "blockdev-change-medium", std::move(arguments));
}

Task<std::string> resize(Monitor& monitor, Words words) {
  const Result<uint64_t> size = parse_size(words[1]);
  if (!size) co_return error_line(monitor, size.error());
  JsonInput arguments = {{"size", *size}};
  arguments[monitor.find_backend(words[0]) != nullptr ? "device" : "node-name"] = words[0];
  co_return co_await run_quietly(monitor, "block_resize", std::move(arguments));
}

Task<std::string> go_on(Monitor& monitor, Words) {
  JsonInput arguments = JsonInput::object();
  co_return co_await run_quietly(monitor, "cont", std::move(arguments));
}

/// Options as on the command line of the daemon.
Task<std::string> with_options(Monitor& monitor, std::string command, std::string text,
                               std::string implied_key) {
  Result<OptionDict> options = OptionDict::parse_key_value(text, implied_key);
  if (!options) co_return error_line(monitor, options.error());
  const Result<monitor::Json> done =
      co_await monitor.execute_options(command, std::move(*options), monitor::Source::kText);
  co_return done ? std::string() : error_line(monitor, done.error());
}

Task<std::string> node_add(Monitor& monitor, Words words) {
  return with_options(monitor, "blockdev-add", std::move(words[0]), "driver");
}

Task<std::string> node_del(Monitor& monitor, Words words) {
  JsonInput arguments = {{"node-name", words[0]}};
  co_return co_await run_quietly(monitor, "blockdev-del", std::move(arguments));
}

Task<std::string> export_add(Monitor& monitor, Words words) {
  return with_options(monitor, "block-export-add", std::move(words[0]), "type");
}

Task<std::string> export_del(Monitor& monitor, Words words) {
  JsonInput arguments = {{"id", words[0]}, {"mode", words.size() > 1 ? words[1] : "safe"}};
  co_return co_await run_quietly(monitor, "block-export-del", std::move(arguments));
}

Task<std::string> object_add(Monitor& monitor, Words words) {
  return with_options(monitor, "object-add", std::move(words[0]), "qom-type");
}

Task<std::string> object_del(Monitor& monitor, Words words) {
  JsonInput arguments = {{"id", words[0]}};
  co_return co_await run_quietly(monitor, "object-del", std::move(arguments));
}

/// "HOST:PORT" or "unix:PATH".
Task<std::string> server_start(Monitor& monitor, Words words) {
  constexpr std::string_view kUnix = "unix:";
  OptionDict address;
  const std::string& where = words[0];
  if (where.starts_with(kUnix)) {
    address.set("addr.type", std::string("unix"));
    address.set("addr.path", where.substr(kUnix.size()));
  } else {
    const size_t colon = where.rfind(':');
    if (colon == where.npos) co_return std::string("Error: an address is HOST:PORT or unix:PATH\n");
    address.set("addr.type", std::string("inet"));
    address.set("addr.host", where.substr(0, colon));
    address.set("addr.port", where.substr(colon + 1));
  }
  const Result<void> done = co_await monitor.start_nbd_server(address, monitor::Source::kText);
  co_return done ? std::string() : error_line(monitor, done.error());
}

Task<std::string> server_add(Monitor& monitor, Words words) {
  const bool writable = words[0] == "-w";
  if (writable) words.erase(words.begin());
  if (words.empty()) co_return std::string("usage: nbd_server_add [-w] DEVICE [NAME]\n");
  JsonInput arguments = {{"device", words[0]}, {"writable", writable}};
  if (words.size() > 1) arguments["name"] = words[1];
  co_return co_await run_quietly(monitor, "nbd-server-add", std::move(arguments));
}

Task<std::string> server_remove(Monitor& monitor, Words words) {
  const bool hard = words[0] == "-f";
  if (hard && words.size() == 1) co_return std::string("usage: nbd_server_remove [-f] NAME\n");
  JsonInput arguments = {{"name", words.back()}, {"mode", hard ? "hard" : "safe"}};
  co_return co_await run_quietly(monitor, "nbd-server-remove", std::move(arguments));
}

Task<std::string> server_stop(Monitor& monitor, Words) {
  JsonInput arguments = JsonInput::object();
  co_return co_await run_quietly(monitor, "nbd-server-stop", std::move(arguments));
}

constexpr HumanCommand kCommands[] = {
    {"drive_add",
     "[ADDRESS] id=ID[,file=FILE][,format=F][,readonly=on][,werror=W]...",
     "make a backend with an image in it",
     {1, 2},
     drive_add},
    {"drive_del", "ID", "take a backend away, also from under a device", {1, 1}, drive_del},
    {"eject", "[-f] ID", "take the medium out", {1, 2}, eject},
    {"change", "[-f] ID FILE [FORMAT [MODE]]", "put another medium in", {2, 5}, change},
    {"block_resize", "ID SIZE", "change the size of a medium or node", {2, 2}, resize},
    {"cont", "", "let requests that errors stopped try again", {0, 0}, go_on},
    {"blockdev_add", "[driver=]DRIVER,node-name=N[,...]", "open a node", {1, 1}, node_add},
    {"blockdev_del", "NODE", "close a node", {1, 1}, node_del},
    {"block_export_add", "[type=]TYPE,id=ID,...", "start an export", {1, 1}, export_add},
    {"block_export_del", "ID [safe|hard]", "end an export", {1, 2}, export_del},
    {"object_add", "[qom-type=]TYPE,id=ID[,...]", "make an object", {1, 1}, object_add},
    {"object_del", "ID", "remove an object", {1, 1}, object_del},
    {"nbd_server_start", "HOST:PORT|unix:PATH", "start the NBD server", {1, 1}, server_start},
    {"nbd_server_add", "[-w] DEVICE [NAME]", "export a backend or node", {1, 3}, server_add},
    {"nbd_server_remove", "[-f] NAME", "end an export", {1, 2}, server_remove},
    {"nbd_server_stop", "", "end the NBD server", {0, 0}, server_stop},
};

}  // namespace

std::span<const HumanCommand> human_medium_commands() { return kCommands; }

}  // namespace ashlar::tools
