// A small world for tests of the graph: files in memory with locks as the host's, a format with
// backing images, a filter, and failures at will. Real drivers, only small.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/driver.h"
#include "ashlar/graph.h"
#include "async/epoch.h"
#include "testing/simulated_runtime.h"

namespace ashlar {

/// Lets the n-th of something fail; 0: none.
class FailNth {
 public:
  void arm(uint64_t nth) {
    nth_ = nth;
    seen_ = 0;
  }
  /// One more. True when this one is to fail.
  bool fails() { return ++seen_ == nth_; }
  uint64_t seen() const { return seen_; }

 private:
  uint64_t nth_ = 0;
  uint64_t seen_ = 0;
};

/// A file of the world. Opened drivers hold it by a shared pointer.
struct WorldFile {
  std::vector<std::byte> bytes;
  bool read_only = false;  ///< opening it to write is not permitted
  struct Lock {
    const void* holder;
    Permissions used;
    Permissions shared;
  };
  std::vector<Lock> locks;
};

/// What the drivers of one runtime share, and what tests see and steer.
struct GraphWorld {
  std::map<std::string, std::shared_ptr<WorldFile>> files;
  FailNth opens;        ///< of storage
  FailNth permissions;  ///< taken from storage
  FailNth reopens;      ///< prepared
  FailNth creations;    ///< writes of a format that creates
  FailNth closes;
  FailNth reads;
  FailNth writes;
  ErrorCode write_error = ErrorCode::kIo;
  Gate requests;  ///< requests of storage wait here while a test keeps it closed
  Gate closing;   ///< closes of storage wait here
  unsigned open_drivers = 0;
  unsigned reopens_pending = 0;
  std::vector<std::string> closed;  ///< file names, in order

  /// The world of the runtime that is running.
  static GraphWorld& current();
};

/// A simulated runtime with a world.
class WorldRuntime final : public SimulatedRuntime {
 public:
  explicit WorldRuntime(uint64_t seed = 1, unsigned loops = 1) : SimulatedRuntime(seed, loops) {}
  GraphWorld world;
};

/// "memory" (also "file:"), "raw", "layer" and "pass".
std::span<const DriverSpec* const> world_drivers();

/// A graph in a world, and the words tests use with it. Closes the graph at its end; references are
/// dropped before.
class WorldGraph {
 public:
  struct Settings {
    uint64_t seed = 1;
    unsigned loops = 1;
    GraphLimits limits{};
  };
  explicit WorldGraph(Settings settings);
  WorldGraph() : WorldGraph(Settings{}) {}
  ~WorldGraph();

  GraphWorld& world() { return runtime_.world; }
  Graph& graph() { return *graph_; }
  WorldRuntime& runtime() { return runtime_; }
  template <typename T>
  T wait(Task<T> task) {
    return sync_wait(runtime_, std::move(task));
  }
  void wait(Task<void> task) { sync_wait(runtime_, std::move(task)); }

  Result<NodeRef> open(std::string_view json, OpenFlags flags = {});
  Result<NodeRef> open_image(std::string filename, std::optional<std::string> format = {},
                             OpenFlags flags = {});
  std::vector<std::string> node_names() const;
  Result<std::string> read(Backend& backend, ByteRange range);
  Result<void> write(Backend& backend, uint64_t offset, std::string_view text);

 private:
  WorldRuntime runtime_;
  std::unique_ptr<Graph> graph_;
};

/// A "layer" image: 4 KiB clusters, at most 2 MiB, backing optional.
std::shared_ptr<WorldFile> make_layer(uint64_t size, const std::string& backing = {},
                                      const std::string& backing_format = {});
/// A file of `size` bytes of `value`.
std::shared_ptr<WorldFile> make_file(uint64_t size, uint8_t value = 0);

}  // namespace ashlar
