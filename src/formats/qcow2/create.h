// Creating qcow2 images.
#pragma once

#include <vector>

#include "ashlar/driver.h"

namespace ashlar::qcow2 {

/// Makes an image in a file that `context` creates: for DriverSpec::create.
/// Errors: those of read_create_options(), what the files give.
Task<Result<void>> create(CreateContext& context, OptionDict options);

/// For DriverSpec::create_options.
std::vector<OptionDescription> create_option_rows();

}  // namespace ashlar::qcow2
