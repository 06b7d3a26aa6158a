// The types of what commands return.
#pragma once

#include "monitor/types.h"

namespace ashlar::monitor {

void define_result_types(Types& types);

}  // namespace ashlar::monitor
