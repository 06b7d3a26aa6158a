// What connections know of an export, and the list they find it in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/backend.h"
#include "exports/nbd/contexts.h"
#include "protocols/nbd_handshake.h"

namespace ashlar::nbd {

/// A backend under a name. It stays as it is while a connection uses it.
struct ServedExport {
  std::string name;
  std::string description;
  Backend* backend = nullptr;
  enum class Access : uint8_t { kReadOnly, kWritable } access = Access::kReadOnly;
  ContextSet contexts;

  /// Without a medium: 0.
  uint64_t size() const { return backend->size().value_or(0); }
};

/// The exports of a server by name. Control loop.
class ExportList {
 public:
  /// Errors: kExists (reason "nbd-export-exists").
  Result<void> add(ServedExport& served) {
    if (find(served.name) != nullptr) {
      return fail(Error(ErrorCode::kExists,
                        "the server has an export named \"" + served.name + "\" already")
                      .because("nbd-export-exists", {served.name}));
    }
    exports_.push_back(&served);
    return ok();
  }
  void remove(const ServedExport& served) { std::erase(exports_, &served); }
  ServedExport* find(std::string_view name) const {
    const auto found =
        std::ranges::find_if(exports_, [name](const auto* each) { return each->name == name; });
    return found == exports_.end() ? nullptr : *found;
  }
  /// In the order they were added.
  const std::vector<ServedExport*>& all() const { return exports_; }

 private:
  std::vector<ServedExport*> exports_;
};

}  // namespace ashlar::nbd
