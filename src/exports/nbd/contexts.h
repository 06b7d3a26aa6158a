// Metadata contexts: what an export can say about its blocks, and how clients ask for them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/request.h"
#include "protocols/nbd_handshake.h"

namespace ashlar::nbd {

class BitmapContext;  // bitmap_context.h

/// One context that an export has.
struct Context {
  enum class Kind : uint8_t {
    kAllocation,       ///< "base:allocation"
    kAllocationDepth,  ///< "qemu:allocation-depth": 0, or the layer of the backing chain from 1
    kBitmap,           ///< "qemu:dirty-bitmap:NAME"
  } kind = Kind::kAllocation;
  uint32_t id = 0;
  const BitmapContext* bitmap = nullptr;  ///< of kBitmap; outlives the export
  bool operator==(const Context&) const = default;

  std::string name() const;
  /// What a client is told of an extent; not of kBitmap, which knows its own.
  uint64_t flags_of(const Extent& extent) const;
};

/// The contexts of one export.
class ContextSet {
 public:
  enum class Depth : uint8_t { kHidden, kShown };
  explicit ContextSet(Depth depth = Depth::kHidden);
  void add(const BitmapContext& bitmap);

  /// Those a client may want to see when it asks for `queries`: names, namespaces ("base:"), or
  /// nothing, which means all.
  std::vector<Context> list(std::span<const std::string> queries) const;
  /// Those it asks for by name.
  std::vector<Context> select(std::span<const std::string> queries) const;

 private:
  std::vector<Context> contexts_;
};

}  // namespace ashlar::nbd
