// The content of a disk: sparse, cheap to copy, of any size.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "ashlar/bytes.h"

namespace ashlar {

/// Bytes that read as zeroes until written. Copies share pages until one of them writes.
class SparseBytes {
 public:
  explicit SparseBytes(uint64_t size = 0) : size_(size) {}

  uint64_t size() const { return size_; }
  /// What is cut off reads as zeroes when it comes back.
  void resize(uint64_t size);

  /// Past the end it gives zeroes.
  void read(uint64_t offset, std::span<std::byte> into) const;
  /// Grows as far as needed.
  void write(uint64_t offset, std::span<const std::byte> from);
  /// Grows as far as needed.
  void zero(ByteRange range);

  /// The length of the start of `range` that either has pages all along or none; and which.
  struct Run {
    uint64_t length;
    bool has_pages;
  };
  Run run_at(ByteRange range) const;

  /// Offset of the first byte that differs, if any. Sizes that differ do so at the smaller one.
  std::optional<uint64_t> first_difference(const SparseBytes& other) const;
  bool operator==(const SparseBytes& other) const { return !first_difference(other); }

 private:
  static constexpr uint64_t kPageSize = 4096;
  using Page = std::array<std::byte, kPageSize>;
  Page& writable_page(uint64_t index);
  const Page* find_page(uint64_t index) const;

  uint64_t size_;
  std::map<uint64_t, std::shared_ptr<Page>> pages_;
};

}  // namespace ashlar
