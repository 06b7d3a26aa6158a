// Dirty bitmaps that images keep: which parts of a disk were written since some moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/task.h"

namespace ashlar {

struct PersistentBitmap {
  std::string name;
  uint64_t granularity = 64_KiB;  ///< bytes of the disk that one bit stands for; power of two
  enum class State : uint8_t {
    kEnabled,       ///< whoever writes has to keep it up to date
    kDisabled,      ///< stays as it is
    kInconsistent,  ///< somebody wrote and did not save it: it says nothing any more
  } state = State::kEnabled;
  bool operator==(const PersistentBitmap&) const = default;
};

/// The bitmaps of an image whose format keeps some. Control loop only, with requests drained.
class BitmapStore {
 public:
  virtual ~BitmapStore() = default;

  /// In the order of the image.
  virtual Task<Result<std::vector<PersistentBitmap>>> list_bitmaps() = 0;
  /// The bits in order of the disk, the least significant of a byte first.
  /// Errors: kNotFound; kCorrupt for inconsistent ones (reason "bitmap-inconsistent").
  virtual Task<Result<std::vector<std::byte>>> read_bitmap(std::string name) = 0;
  /// Adds a bitmap, durably: after a power cut it is there whole or not at all.
  /// Errors: kExists; kInvalidArgument for a name, granularity or number of bits that cannot be;
  /// kUnsupported when this image cannot have any; kTooLarge.
  virtual Task<Result<void>> add_bitmap(PersistentBitmap bitmap, std::vector<std::byte> bits) = 0;
};

}  // namespace ashlar
