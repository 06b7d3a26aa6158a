#pragma once
#include "ashlar/driver.h"
#include "formats/qcow2/header.h"
namespace ashlar::qcow2 { inline Task<Result<ImageInfo>> read_description(const Header&, Child&) { co_return ImageInfo{}; } }
