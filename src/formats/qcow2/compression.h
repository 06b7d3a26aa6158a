// Compressed clusters: deflate and zstd, with contexts that are reused.
// Specification: docs/interop/qcow2.rst, "compression_type"; RFC 1951; RFC 8878.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "ashlar/error.h"
#include "formats/qcow2/header.h"

namespace ashlar::qcow2 {

/// How far back deflate streams may refer. QEMU reads both, as it decodes a cluster in one call; a
/// reader that streams with a 12-bit window needs the small one.
enum class DeflateWindow : uint8_t { k32KiB, k4KiB };

/// Compresses and decompresses clusters of one image. All members may be called from any thread at
/// once; each call uses a context of its own, and idle contexts are kept for the next.
class Codec {
 public:
  explicit Codec(CompressionType type, DeflateWindow window = DeflateWindow::k32KiB);
  ~Codec();
  Codec(const Codec&) = delete;
  Codec& operator=(const Codec&) = delete;

  CompressionType type() const { return type_; }

  /// Compresses all of `in` and returns how many bytes of `out` that took. 0: it does not get
  /// smaller than `in`, or does not fit into `out`; store it as it is.
  size_t compress(std::span<const std::byte> in, std::span<std::byte> out);

  /// Fills `out`, one whole cluster, from `in`. What follows the compressed data is ignored: the
  /// last sector may hold anything.
  /// Errors: kCorrupt (reason "qcow2-decompress") when `in` is damaged or gives too little.
  Result<void> decompress(std::span<const std::byte> in, std::span<std::byte> out);

 private:
  struct Context;
  class Lease;
  std::unique_ptr<Context> take();
  void give_back(std::unique_ptr<Context> context);

  const CompressionType type_;
  const DeflateWindow window_;
  std::mutex lock_;
  std::vector<std::unique_ptr<Context>> idle_;  // under lock_
};

}  // namespace ashlar::qcow2
