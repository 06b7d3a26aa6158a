// Where an export is mounted: which files will do.
#pragma once

#include <string>

#include "ashlar/error.h"
#include "ashlar/task.h"

namespace ashlar::fuse {

/// The absolute path of `mountpoint`, which is a regular file that no FUSE file system covers.
/// Errors: with reason "fuse-mountpoint" when it cannot be looked at, "fuse-mountpoint-kind" when
/// it is no regular file, "fuse-mountpoint-busy" when it is covered already.
Task<Result<std::string>> find_mountpoint(std::string mountpoint);

}  // namespace ashlar::fuse
