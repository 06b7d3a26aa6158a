// The vhost-user-blk export: a backend as the disk of virtual machines in other processes.
#pragma once

#include "ashlar/export.h"

namespace ashlar {

/// Listed in builtin_exports().
extern const ExportSpec vhost_user_blk_export;

}  // namespace ashlar
