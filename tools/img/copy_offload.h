// Copying inside the kernel: no byte passes through this process, and file systems that can share
// blocks share them.
#pragma once

#include <atomic>
#include <memory>

#include "ashlar/backend.h"
#include "tools/img/copy_source.h"

namespace ashlar::tools {

/// Copies ranges that are plain bytes of a file on both sides.
class CopyOffload {
 public:
  /// For a target that is a raw image in a file; else everything is left to the ordinary way.
  CopyOffload(CopySource& source, Backend& target);
  ~CopyOffload();
  CopyOffload(const CopyOffload&) = delete;

  /// Copies `range`. False: it has to be copied the ordinary way, all of it.
  Task<bool> copy(ByteRange range);

 private:
  struct Files;
  CopySource& source_;
  Backend& target_;
  std::unique_ptr<Files> files_;
  std::atomic<bool> possible_{true};
};

}  // namespace ashlar::tools
