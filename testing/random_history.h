// Random histories on qcow2 images: many requests in flight from several loops, resizes,
// reopenings; everything that is read is compared with a flat array, and every closed image is
// audited.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/sync.h"
#include "testing/block_operation.h"
#include "testing/flat_model.h"
#include "testing/seeded_random.h"
#include "testing/simulated_image.h"

namespace ashlar {

/// What one history is made of. All of it follows from a seed.
struct HistoryMix {
  uint64_t seed = 0;
  Qcow2Shape shape;
  SimulatedImage::Setup setup;
  uint64_t backing_size = 0;
  unsigned operations = 30;
  unsigned depth = 4;  ///< requests in flight
  uint64_t granule = 512;
  /// Whether requests in flight may write the same units.
  enum class Sharing : uint8_t { kClusters, kUnits } sharing = Sharing::kClusters;
  std::vector<BlockOperation::Kind> kinds;
  unsigned prepared = 0;  ///< clusters that are there from the start
  enum class Snapshot : uint8_t { kNone, kTaken } snapshot = Snapshot::kNone;

  static HistoryMix from_seed(uint64_t seed);
  std::string describe() const;
  /// The image to start with.
  ImageFiles files() const;
};

class RandomHistory {
 public:
  explicit RandomHistory(const HistoryMix& mix);
  ~RandomHistory();
  /// Runs it. Empty: all is well; otherwise what went wrong, and how to do it again.
  std::string run();

 private:
  struct InFlight;
  Task<void> everything();
  Task<void> operations();
  Task<void> start_when_possible(BlockOperation operation);
  Task<void> carry_out(InFlight& request);
  Task<void> resize(uint64_t size);
  Task<void> open();
  Task<void> close();
  Task<void> compare_all();
  BlockOperation choose();
  ByteRange choose_range(BlockOperation::Kind kind);
  uint64_t choose_size();
  std::string choose_options();
  bool may_resize() const;
  bool conflicts(const BlockOperation& operation) const;
  void finish(const InFlight& request, const Result<void>& result);
  void check_closed();
  void wrong(std::string what);

  HistoryMix mix_;
  ImageFiles files_;
  SimulatedImage image_;
  SeededRandom random_;
  FlatModel model_;
  Scope scope_;
  Semaphore finished_{0};
  std::list<InFlight> in_flight_;
  bool discards_ = true;  // as opened now
  std::vector<std::byte> snapshot_before_;
  std::vector<std::string> log_;
  std::string failure_;
};

}  // namespace ashlar
