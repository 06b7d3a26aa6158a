// Reopening for drivers to which no flag means anything: it always works and changes nothing.
#pragma once

#include <memory>

#include "ashlar/driver.h"

namespace ashlar {

/// Options that are left are refused by the layer.
inline Task<Result<std::unique_ptr<PreparedReopen>>> plain_reopen() {
  struct Nothing final : PreparedReopen {
    void commit() noexcept override {}
  };
  std::unique_ptr<PreparedReopen> nothing = std::make_unique<Nothing>();
  co_return std::move(nothing);
}

}  // namespace ashlar
