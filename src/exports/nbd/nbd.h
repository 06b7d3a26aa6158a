// The NBD export: a backend as an export of the NBD server.
#pragma once

#include "ashlar/export.h"

namespace ashlar {

extern const ExportSpec nbd_export;

}  // namespace ashlar
