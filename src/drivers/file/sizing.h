// Giving a file a size, with the room reserved or written if that is asked for.
#pragma once

#include <cstdint>
#include <string>

#include "ashlar/error.h"
#include "ashlar/request.h"
#include "drivers/file/descriptor.h"

namespace ashlar::file {

/// Grows or shrinks to `size`. Blocks; for a worker. After an error the size is as it was before.
/// `descriptor` must not be open for direct access when `preallocation` is kFull.
/// Errors: kInvalidArgument "file-preallocation" {mode}, "file-preallocation-shrink"; those of the
/// system with reason "file-resize" {path}.
struct Sizing {
  uint64_t size = 0;
  Preallocation preallocation = Preallocation::kOff;
};
Result<void> set_file_size(const Descriptor& descriptor, const std::string& path, Sizing wanted);

/// What can be refused without looking at the file.
Result<void> check_preallocation(Preallocation preallocation);

}  // namespace ashlar::file
