// Commands about the NBD server.
#include <fmt/format.h>

#include "monitor/errors.h"
#include "monitor/monitor.h"
#include "monitor/option_dict.h"

namespace ashlar::monitor {
namespace {

Task<Result<Json>> start(Monitor& monitor, JsonInput arguments) {
  Result<void> started = co_await monitor.nbd().start(monitor, std::move(arguments));
  if (!started) co_return fail(started.error());
  co_return nothing();
}

Task<Result<Json>> stop(Monitor& monitor, JsonInput) {
  Result<void> stopped = co_await monitor.nbd().stop(monitor);
  if (!stopped) co_return fail(stopped.error());
  co_return nothing();
}

/// An export whose id is its name, of a backend or a node.
Task<Result<Json>> add(Monitor& monitor, JsonInput arguments) {
  const std::string device = arguments["device"].get<std::string>();
  const std::string name = arguments.value("name", device);
  OptionDict options;
  options.set("type", std::string("nbd"));
  options.set("id", name);
  options.set("name", name);
  options.set(monitor.find_backend(device) != nullptr ? "backend" : "node-name", device);
  options.set("writable", arguments.value("writable", false));
  if (arguments.contains("description")) {
    options.set("description", arguments["description"].get<std::string>());
  }
  if (arguments.contains("bitmap")) {
    options.set("bitmaps.0", arguments["bitmap"].get<std::string>());
  }
  Result<void> added = co_await monitor.exports().add(std::move(options));
  if (!added) co_return fail(added.error());
  co_return nothing();
}

Task<Result<Json>> remove(Monitor& monitor, JsonInput arguments) {
  using Removal = ExportRegistry::Removal;
  const bool hard = arguments.value("mode", std::string("safe")) == "hard";
  std::string name = arguments["name"].get<std::string>();
  Result<void> removed =
      co_await monitor.exports().remove(std::move(name), hard ? Removal::kHard : Removal::kSafe);
  if (!removed) co_return fail(removed.error());
  co_return nothing();
}

constexpr Command kCommands[] = {
    {"nbd-server-start",
     "addr:SocketAddressLegacy, *tls-creds:str, *tls-authz:str, *max-connections:count, "
     "*handshake-max-seconds:count, *iothread:OneOrMore",
     "", start, "starts the NBD server"},
    {"nbd-server-stop", "", "", stop, "ends the NBD server and its exports"},
    {"nbd-server-add", "*name:str, *description:str, device:str, *writable:bool, *bitmap:str", "",
     add, "adds an export to the NBD server", Command::Oob::kNo, "deprecated"},
    {"nbd-server-remove", "name:str, *mode:(safe hard)", "", remove,
     "removes an export from the NBD server", Command::Oob::kNo, "deprecated"},
};

}  // namespace

std::span<const Command> nbd_commands() { return kCommands; }

}  // namespace ashlar::monitor
