// From the arguments of a command to the options that the library takes.
#pragma once

#include "ashlar/options.h"
#include "monitor/json.h"
#include "monitor/monitor.h"

namespace ashlar::monitor {

/// The members of an object as options, nested ones with dotted names.
Result<OptionDict> to_options(const JsonInput& object);

/// Takes "on-read-error" and "on-write-error" out of `arguments`; whether there was one.
bool take_policies(JsonInput& arguments, Monitor::Policies& policies);

}  // namespace ashlar::monitor
