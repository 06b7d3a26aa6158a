// One command of the monitor: its name, its arguments and results as types, and what it does.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "monitor/json.h"
#include "monitor/types.h"

namespace ashlar::monitor {

class Monitor;

/// A row of a table of commands. The texts are those of Types.
struct Command {
  std::string_view name;
  /// Members; or "@NAME" for those of the defined object NAME.
  std::string_view arguments;
  std::string_view returns;  ///< a type; empty: an empty object
  /// `arguments` have been checked. Errors: see Monitor::class_of() for how they are reported.
  Task<Result<Json>> (*run)(Monitor& monitor, JsonInput arguments) = nullptr;
  std::string_view summary;
  /// May run beside the commands that wait in the queue: it must not wait itself.
  enum class Oob : uint8_t { kNo, kAllowed } oob = Oob::kNo;
  std::string_view features{};
};

/// The type of a command's arguments.
const Type& arguments_type(Types& types, const Command& command);

/// What commands without a result return.
inline Json nothing() { return Json::object(); }

/// What query-version says.
Json version_info();

// The tables, by what the commands are about.
std::span<const Command> protocol_commands();
std::span<const Command> node_commands();
std::span<const Command> query_commands();
std::span<const Command> backend_commands();
std::span<const Command> export_commands();
std::span<const Command> nbd_commands();
std::span<const Command> object_commands();
std::span<const Command> throttle_commands();
std::span<const Command> job_commands();
std::span<const Command> transaction_commands();
std::span<const Command> node_tuning_commands();
std::span<const Command> chardev_commands();

void define_chardev_types(Types& types);

/// The types of actions and of their commands' arguments.
void define_transaction_types(Types& types);

}  // namespace ashlar::monitor
