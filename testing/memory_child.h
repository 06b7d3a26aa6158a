// A child that lives in memory: what formats are tested on without a graph. Sparse, so that images
// of terabytes fit; can fail on demand, and remembers what was written between flushes.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ashlar/driver.h"

namespace ashlar::testing {

class MemoryChild final : public Child {
 public:
  /// One change, in the order in which they came.
  struct Change {
    enum class Kind : uint8_t { kWrite, kZero, kResize, kFlush } kind;
    ByteRange range;               ///< kResize: the new size as length
    std::vector<std::byte> bytes;  ///< of kWrite
  };

  explicit MemoryChild(uint64_t size = 0, std::string name = "file");
  explicit MemoryChild(std::span<const std::byte> content);

  const std::string& name() const noexcept override { return name_; }
  NodeInfo info() const noexcept override;
  uint64_t size() const noexcept override { return size_; }
  bool writable() const noexcept override { return true; }
  std::string filename() const override { return name_ + ".img"; }

  Task<Result<void>> read(ByteRange range, MutableBuffers into) override;
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags) override;
  Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags) override;
  Task<Result<void>> discard(ByteRange range) override;
  Task<Result<void>> flush() override;
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override;
  Task<Result<Extent>> status(ByteRange range) override;

  // For tests, without going through tasks.
  std::vector<std::byte> content(ByteRange range) const;
  std::vector<std::byte> content() const { return content({0, size_}); }
  void put(uint64_t offset, std::span<const std::byte> bytes);
  uint64_t be64(uint64_t offset) const;
  void put_be64(uint64_t offset, uint64_t value);
  void put_be32(uint64_t offset, uint32_t value);
  void truncate(uint64_t size);
  /// Makes one change of a log happen here.
  void apply(const Change& change);

  /// The operation after `count` more ones fails with kIo, and all later ones.
  void fail_after(uint64_t count) { remaining_ = count; }
  void heal() { remaining_.reset(); }
  uint64_t operations() const { return operations_; }
  void record() { recording_ = true; }
  const std::vector<Change>& changes() const { return changes_; }

 private:
  static constexpr uint64_t kChunk = 64_KiB;
  using Chunk = std::array<std::byte, kChunk>;

  std::optional<Error> begin();
  void zero(ByteRange range);
  void note(Change::Kind kind, ByteRange range, std::span<const std::byte> bytes = {});

  std::string name_;
  uint64_t size_;
  std::map<uint64_t, std::unique_ptr<Chunk>> chunks_;  // by offset / kChunk
  std::optional<uint64_t> remaining_;
  uint64_t operations_ = 0;
  bool recording_ = false;
  std::vector<Change> changes_;
};

}  // namespace ashlar::testing
