// What is copied from: one image, or several behind each other.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ashlar/backend.h"

namespace ashlar::tools {

/// Images behind each other, each filled up to whole sectors with zeroes. Requests from any loop.
class CopySource {
 public:
  static constexpr uint64_t kSector = 512;

  /// Appends an image. Errors: kTooLarge, and those of the backend.
  Result<void> append(BackendRef image);
  /// Appends a part of an image, which has to lie inside it. Errors: kTooLarge.
  Result<void> append_part(BackendRef image, ByteRange part);

  uint64_t size() const { return size_; }
  size_t count() const { return parts_.size(); }
  Backend& image(size_t index) const { return *parts_[index].image; }

  /// Reads `range`, which lies inside.
  Task<Result<void>> read(ByteRange range, std::span<std::byte> into);
  /// Status of the start of `range`; see Backend::status().
  Task<Result<Extent>> status(ByteRange range, unsigned layers);

 private:
  struct Part {
    BackendRef image;
    ByteRange part;   ///< of the image
    ByteRange place;  ///< in the whole: as long, in full sectors
  };
  const Part& part_at(uint64_t offset) const;
  Task<Result<void>> read_parts(ByteRange range, std::span<std::byte> into);

  std::vector<Part> parts_;
  uint64_t size_ = 0;
};

}  // namespace ashlar::tools
