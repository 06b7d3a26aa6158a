// What a client and the server have agreed on when the handshake is over.
#pragma once

#include <cstdint>
#include <vector>

#include "exports/nbd/contexts.h"
#include "exports/nbd/served_export.h"
#include "protocols/nbd_transmission.h"

namespace ashlar::nbd {

struct Session {
  ServedExport* served = nullptr;
  enum class Replies : uint8_t { kSimple, kStructured } replies = Replies::kSimple;
  Headers headers = Headers::kCompact;
  std::vector<Context> contexts;  ///< those of block status

  bool structured() const { return replies == Replies::kStructured; }
};

}  // namespace ashlar::nbd
