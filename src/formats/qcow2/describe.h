// What a qcow2 image says about itself, for people and programs.
#pragma once

#include "ashlar/driver.h"
#include "ashlar/image_info.h"
#include "formats/qcow2/header.h"

namespace ashlar::qcow2 {

/// Reads what the header only points to (snapshots, the directory of bitmaps) and puts it together.
/// Tables of snapshots are left to checking, where that is the purpose.
/// Errors: those of reading and decoding these tables.
Task<Result<ImageInfo>> read_description(const Header& header, Child& file, Purpose purpose);

}  // namespace ashlar::qcow2
