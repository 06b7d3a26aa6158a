// A file without a name that goes away with the process, however that ends.
#pragma once

#include <string>
#include <utility>

#include "ashlar/error.h"

namespace ashlar::tools {

/// An unnamed file in the folder for temporary files, reachable by path() while this lives.
class TemporaryFile {
 public:
  /// In $TMPDIR, or in /var/tmp. Errors: those of the file system.
  static Result<TemporaryFile> create();

  TemporaryFile(TemporaryFile&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)) {}
  TemporaryFile& operator=(TemporaryFile&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~TemporaryFile();

  /// A path by which this process can open it again.
  std::string path() const;

 private:
  explicit TemporaryFile(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace ashlar::tools
