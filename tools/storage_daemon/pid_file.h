// The file that holds the process id while the daemon runs.
#pragma once

#include <string>

#include "ashlar/error.h"
#include "async/owned_descriptor.h"

namespace ashlar::tools {

/// Locked while it exists, so that a second daemon does not take it; removed at the end.
class PidFile {
 public:
  PidFile() = default;
  PidFile(const PidFile&) = delete;
  ~PidFile();
  /// Errors: the text is the user's.
  Result<void> create(const std::string& path);

 private:
  OwnedDescriptor file_;
  std::string path_;
};

}  // namespace ashlar::tools
