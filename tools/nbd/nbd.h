// The nbd tool: serves one image, lists what another server has, or drives the kernel's client.
#pragma once

#include <span>

#include "tools/common/program.h"

namespace ashlar::tools {

int run_nbd(Program& program, std::span<char* const> words);

}  // namespace ashlar::tools
