// The FUSE export: a backend as a regular file.
#pragma once

#include "ashlar/export.h"

namespace ashlar {

extern const ExportSpec fuse_export;

}  // namespace ashlar
