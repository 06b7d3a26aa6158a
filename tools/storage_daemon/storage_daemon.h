// ashlar-storage-daemon: serves images under the control of monitors.
#pragma once

#include <span>

#include "tools/common/program.h"

namespace ashlar::tools {

int run_storage_daemon(Program& program, std::span<char* const> words);

}  // namespace ashlar::tools
