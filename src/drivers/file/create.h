// Making new image files.
#pragma once

#include <string>

#include "ashlar/error.h"
#include "ashlar/options.h"
#include "ashlar/task.h"

namespace ashlar::file {

/// Makes an empty file, or empties the one that is there: only when its locks say that nobody uses
/// it. Errors: kLocked as of ByteLocks; "file-create" {path}; as of set_file_size().
Task<Result<void>> create_file(std::string filename, OptionDict options);

/// Removes a file. Errors: "file-delete" {path}.
Task<Result<void>> delete_file(std::string filename);

/// A device cannot be made; it must be there and be large enough.
/// Errors: "file-create" {path}, "file-not-device", "device-too-small" {path}.
Task<Result<void>> create_on_device(std::string filename, OptionDict options);

}  // namespace ashlar::file
