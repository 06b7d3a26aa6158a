// query-qmp-schema: the catalog of types as clients read it.
#pragma once

#include <span>

#include "monitor/command.h"
#include "monitor/events.h"
#include "monitor/json.h"
#include "monitor/types.h"

namespace ashlar::monitor {

/// Every command and event with all types they need. Names of types are numbers: what they are
/// called here is nobody's business.
Json describe_schema(Types& types, std::span<const Command* const> commands);

}  // namespace ashlar::monitor
