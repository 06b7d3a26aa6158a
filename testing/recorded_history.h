// A given list of requests on one image, carried out with note of when each began and finished: to
// look at every power cut on the way afterwards, or at what faults do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "async/sync.h"
#include "testing/history_model.h"
#include "testing/simulated_image.h"

namespace ashlar {

class RecordedHistory {
 public:
  struct Plan {
    Qcow2Shape shape;
    ImageFiles files{};
    SimulatedImage::Setup setup{};
    std::vector<BlockOperation> operations;
    unsigned depth = 1;  ///< requests in flight; resizes are alone

    uint64_t largest_size() const;
    std::string describe() const;
  };
  explicit RecordedHistory(Plan plan);

  /// Opens, carries out, closes. Empty: what was read and what is left is right, and nothing
  /// failed.
  std::string run();
  /// The same with a fault from after open() until all requests have ended. Requests may fail then;
  /// one has to if the fault was met, unless it was of a read.
  std::string run_with(const SimulatedDisk::Fault& fault);

  struct Span {
    size_t began = 0;     ///< events of the disk's log before it
    size_t finished = 0;  ///< and when it was done
    Result<void> result;
  };
  const std::vector<Span>& spans() const { return spans_; }
  const Result<void>& closed() const { return closed_; }
  bool any_error() const;
  bool fault_met() const { return fault_met_; }
  SimulatedImage& image() { return image_; }
  const Plan& plan() const { return plan_; }

  /// Cuts the power at every point of the disk's log, in every way that `for_each_power_cut` knows
  /// with `seeds` mixtures, and looks at what is left. Empty: all of it is right.
  std::string check_power_cuts(unsigned seeds);
  uint64_t cuts() const { return cuts_; }
  /// How often what a power cut left is also opened, grown, written to and closed: every n-th time.
  void use_every(uint64_t nth) { use_every_ = nth; }

 private:
  Task<void> everything(const SimulatedDisk::Fault* fault);
  std::string finish(const SimulatedDisk::Fault* fault);
  Task<void> carry_out(size_t index);
  Task<void> read_all();
  HistoryModel fresh_model() const;
  void note_in_model(HistoryModel& model, size_t point);
  void check_read(size_t index, std::span<const std::byte> read);
  std::string use(const SparseBytes& left) const;
  std::string look_at(const SparseBytes& left, const HistoryModel& model);
  void check_closed();
  void wrong(std::string what);

  Plan plan_;
  SimulatedImage image_;
  std::vector<std::byte> content_;  // at the start
  uint64_t old_leaks_ = 0;
  HistoryModel model_;
  Scope scope_;
  Semaphore free_;
  std::vector<Span> spans_;
  Result<void> closed_;
  size_t close_began_ = 0;
  std::vector<HistoryModel::Id> ids_;  // in the model of power cuts
  size_t begun_ = 0;
  std::vector<bool> ended_;
  uint64_t cuts_ = 0;
  uint64_t use_every_ = 101;
  bool fault_met_ = false;
  std::string failure_;
};

}  // namespace ashlar
