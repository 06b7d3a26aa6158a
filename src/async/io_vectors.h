// The kernel's list of memory segments, from ours.
#pragma once

#include <sys/uio.h>

#include <array>
#include <memory>

#include "ashlar/bytes.h"

namespace ashlar {

/// Up to kMost segments of a buffer; what is beyond is left for the next call. Few segments, the
/// usual case, need no allocation.
class IoVectors {
 public:
  static constexpr unsigned kInline = 8;
  static constexpr unsigned kMost = 1024;  // the kernel takes no more at once

  void fill(ConstBuffers from) {
    unsigned segments = 0;
    from.for_each([&segments](std::span<const std::byte>) { ++segments; });
    if (segments > kInline && !more_) more_ = std::make_unique<std::array<iovec, kMost>>();
    iovec* list = segments > kInline ? more_->data() : inline_.data();
    data_ = list;
    count_ = 0;
    length_ = 0;
    from.for_each([this, list](std::span<const std::byte> segment) {
      if (count_ == kMost) return;
      // The kernel's type has no const; writing calls do not write to it.
      list[count_++] = {const_cast<std::byte*>(segment.data()), segment.size()};
      length_ += segment.size();
    });
  }

  const iovec* data() const { return data_; }
  unsigned count() const { return count_; }
  uint64_t length() const { return length_; }

 private:
  std::array<iovec, kInline> inline_;
  std::unique_ptr<std::array<iovec, kMost>> more_;
  const iovec* data_ = nullptr;
  unsigned count_ = 0;
  uint64_t length_ = 0;
};

}  // namespace ashlar
