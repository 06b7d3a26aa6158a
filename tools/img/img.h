// The img tool: its commands and their table.
#pragma once

#include <span>

#include "tools/common/arguments.h"
#include "tools/common/program.h"

namespace ashlar::tools {

/// Runs the tool on the words after its name.
int run_img(Program& program, std::span<char* const> words);

// One command per file.
extern const Command kBenchCommand;
extern const Command kCheckCommand;
extern const Command kCompareCommand;
extern const Command kConvertCommand;
extern const Command kCreateCommand;
extern const Command kDdCommand;
extern const Command kInfoCommand;
extern const Command kMapCommand;
extern const Command kMeasureCommand;
extern const Command kResizeCommand;
extern const Command kSnapshotCommand;

}  // namespace ashlar::tools
