// Asking an operation to end, by those who cannot wait for the answer.
#pragma once

#include "async/io_operation.h"

namespace ashlar {

/// `target` ends with -ECANCELED soon if it is not too late. On its loop.
void request_cancel(IoOperation& target) noexcept;

}  // namespace ashlar
