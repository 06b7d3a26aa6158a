// How the storage daemon words what its monitors say: as the peer's does.
#pragma once

#include "monitor/monitor.h"

namespace ashlar::tools {

monitor::Wording daemon_wording();

}  // namespace ashlar::tools
