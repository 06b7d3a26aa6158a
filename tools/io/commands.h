// The families of the shell's commands; each is one file.
#pragma once

#include <span>

#include "tools/io/shell.h"

namespace ashlar::tools::io {

std::span<const ShellCommand> read_commands();        // read, readv
std::span<const ShellCommand> write_commands();       // write, writev, discard
std::span<const ShellCommand> background_commands();  // aio_read, aio_write, aio_discard, aio_flush
std::span<const ShellCommand> image_commands();       // open, close, reopen
std::span<const ShellCommand> device_commands();      // length, info, truncate, flush, alloc, map
std::span<const ShellCommand> breakpoint_commands();  // break, wait_break, resume, remove_break
std::span<const ShellCommand> control_commands();     // help, quit, sleep, sigraise, abort

}  // namespace ashlar::tools::io
