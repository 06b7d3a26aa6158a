// The io tool: reads and writes images command by command.
#pragma once

#include <span>

#include "tools/common/program.h"

namespace ashlar::tools {

/// `words`: those after the program's name. Returns the exit status.
int run_io(Program& program, std::span<char* const> words);

}  // namespace ashlar::tools
