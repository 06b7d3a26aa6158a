// Formats whose images can be told the name of their backing image while they are open.
#pragma once

#include <string>

#include "ashlar/error.h"
#include "ashlar/task.h"

namespace ashlar {

/// What a driver offers besides Driver. Control loop only, with requests drained.
class BackingNameKeeper {
 public:
  virtual ~BackingNameKeeper() = default;
  /// The image names its backing image so from now on, durably; what is open stays. An empty name:
  /// it names none. Errors: kReadOnly, kTooLarge (reason "backing-name-size"), what the file gives;
  /// the old name stays then.
  virtual Task<Result<void>> set_backing_name(std::string name, std::string format) = 0;
};

}  // namespace ashlar
