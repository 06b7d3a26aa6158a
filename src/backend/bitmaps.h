// The dirty bitmaps of what a backend shows, for frontends that tell them to others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ashlar/backend.h"
#include "ashlar/persistent_bitmap.h"

namespace ashlar {

/// A bitmap as it was when it was read.
struct LoadedBitmap {
  PersistentBitmap bitmap;
  std::vector<std::byte> bits;  ///< in order of the disk, the least significant of a byte first
  /// Of the image that keeps the bitmap.
  enum class Image : uint8_t { kReadOnly, kWritable } image = Image::kReadOnly;
};

/// Which bitmap of a medium is meant.
struct BitmapName {
  std::string node;  ///< the medium's or one below it; empty: the first that has the bitmap
  std::string name;
};

/// Reads a bitmap of the medium, of what its filters show, or of a backing image. Requests are held
/// meanwhile. Control loop. Errors: kNotFound (reason "bitmap-not-found"), kCorrupt for
/// inconsistent ones.
Task<Result<LoadedBitmap>> load_bitmap(Backend& backend, BitmapName which);

}  // namespace ashlar
