// One device opened through a graph of its own, for tests that only want to use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/backend.h"
#include "ashlar/graph.h"
#include "ashlar/loop.h"
#include "ashlar/options.h"

namespace ashlar {

/// A runtime, a graph with all drivers, and a backend. Each call runs until it has finished, on the
/// control loop.
class TestDevice {
 public:
  explicit TestDevice(const RuntimeOptions& runtime = {},
                      std::shared_ptr<const ThrottleGroupStore> groups = {});
  TestDevice(const TestDevice&) = delete;
  /// Closes everything; an error then ends the test program.
  ~TestDevice();

  /// Opens `options` (key=value text, or a dictionary) and makes it the medium, writable unless
  /// `flags` say otherwise. Others may do everything, as far as the drivers below allow.
  Result<void> open(std::string_view options, OpenFlags flags = {});
  Result<void> open(OptionDict options, OpenFlags flags = {});
  /// Takes the medium out and closes it.
  Result<void> close_medium();

  /// Reads into new memory.
  Result<std::vector<std::byte>> read(ByteRange range);
  Result<void> write(uint64_t offset, std::span<const std::byte> bytes, WriteFlags flags = {});
  /// `length` bytes of `value`.
  Result<void> write_pattern(ByteRange range, uint8_t value, WriteFlags flags = {});
  Result<void> write_zeroes(ByteRange range, ZeroFlags flags = {});
  Result<void> discard(ByteRange range);
  Result<void> flush();
  Result<void> resize(uint64_t size, ResizeFlags flags = {});
  Result<Extent> status(ByteRange range);
  uint64_t size() const;
  /// Whether all of `range` reads as `value`.
  bool holds(ByteRange range, uint8_t value);

  Backend& backend() const { return *backend_; }
  Node& node() const { return *backend_->root(); }
  Graph& graph() const { return *graph_; }
  Runtime& runtime() const { return *runtime_; }

 private:
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<Graph> graph_;
  BackendRef backend_;
};

}  // namespace ashlar
