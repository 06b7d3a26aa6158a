// A store of bitmaps that can be kept up to date while its image is written.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ashlar/persistent_bitmap.h"

namespace ashlar {

/// What formats offer beyond BitmapStore where the layer notes writes for them. A crash between
/// mark and save leaves the marked bitmaps inconsistent: they say nothing, and never anything
/// wrong. Control loop only, with requests drained.
class BitmapKeeper : public BitmapStore {
 public:
  struct Kept {
    PersistentBitmap bitmap;
    std::vector<std::byte> bits;  ///< as in read_bitmap()
  };
  /// Whether bitmaps of the image were marked since they were read or saved. Drivers do that by
  /// themselves before the first write that an enabled bitmap has to know of.
  virtual bool bitmaps_are_marked() const noexcept = 0;
  /// Marks all bitmaps of the image, durably: what it says of them will not be true for a while.
  virtual Task<Result<void>> mark_bitmaps() = 0;
  /// Puts `kept` in the place of the bitmaps of the same names, and takes those called `removed`
  /// away; others stay. After a power cut the old ones or the new ones are there.
  /// Errors: those of add_bitmap(). What was marked then stays so.
  virtual Task<Result<void>> save_bitmaps(std::vector<Kept> kept,
                                          std::vector<std::string> removed) = 0;
};

}  // namespace ashlar
