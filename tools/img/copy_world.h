// Simulated images for tests of copying: disks with faults below backends, on several loops.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ashlar/graph.h"
#include "testing/seeded_random.h"
#include "testing/simulated_driver.h"
#include "testing/simulated_runtime.h"

namespace ashlar::tools {

/// A simulation with disks of given sizes, each opened below a backend of its own.
class CopyWorld {
 public:
  explicit CopyWorld(uint64_t seed, unsigned loops = 3) : runtime(seed, loops), random(seed) {
    static constexpr std::array<const DriverSpec*, 1> kDrivers = {&simulated_disk_driver};
    graph_ =
        std::make_unique<Graph>(runtime, Graph::Options{.drivers = kDrivers, .resolver = nullptr});
  }
  ~CopyWorld() {
    images_.clear();
    (void)sync_wait(runtime, graph_->close());
    graph_.reset();
  }

  /// A new disk and the backend over it.
  BackendRef add(uint64_t size) {
    const std::string name = std::to_string(disks.size());
    disks.push_back(std::make_shared<SimulatedDisk>(size));
    runtime.attach_disk(name, disks.back());
    images_.push_back(sync_wait(runtime, open(*graph_, name)));
    return images_.back();
  }

  /// Random data in random places of a disk: about half of it stays a hole.
  void scatter(size_t disk) {
    const uint64_t size = disks[disk]->size();
    for (int piece = 0; piece < 12; ++piece) {
      const uint64_t offset = random.below(size);
      std::vector<std::byte> bytes(1 + random.below(std::min<uint64_t>(size - offset, 20'000)));
      const bool zeroes = random.below(4) == 0;
      for (std::byte& byte : bytes) byte = std::byte(zeroes ? 0 : 1 + random.below(255));
      EXPECT_TRUE(disks[disk]->write({offset, bytes.size()}, MutableBuffers(std::span(bytes))));
    }
  }

  SimulatedRuntime runtime;
  SeededRandom random;
  std::vector<std::shared_ptr<SimulatedDisk>> disks;

 private:
  static Task<BackendRef> open(Graph& graph, std::string disk) {
    OptionDict options;
    options.set("driver", "simulated-disk");
    options.set("disk", disk);
    Result<NodeRef> node = co_await graph.open(std::move(options));
    EXPECT_TRUE(node) << node.error().message();
    Result<BackendRef> backend = graph.create_backend();
    const Permissions all = Permissions::all();
    EXPECT_TRUE((*backend)->set_permissions(all, all));
    const Result<void> inserted = co_await (*backend)->insert_medium(std::move(*node));
    EXPECT_TRUE(inserted) << inserted.error().message();
    co_return *backend;
  }

  std::unique_ptr<Graph> graph_;
  std::vector<BackendRef> images_;
};

}  // namespace ashlar::tools
