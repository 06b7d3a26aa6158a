// A qcow2 image on simulated disks, behind a backend: what histories run on.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ashlar/backend.h"
#include "ashlar/graph.h"
#include "testing/qcow2_audit.h"
#include "testing/qcow2_shape.h"
#include "testing/simulated_disk.h"
#include "testing/simulated_runtime.h"

namespace ashlar {

/// The parts of one image as bytes.
struct ImageFiles {
  SparseBytes image = SparseBytes();
  std::optional<SparseBytes> backing;    ///< plain bytes
  std::optional<SparseBytes> data_file;  ///< external
};

/// The disks of an image and, between open() and close(), the graph and backend above them.
class SimulatedImage {
 public:
  struct Setup {
    uint64_t seed = 1;
    unsigned loops = 1;
    uint64_t disk_alignment = 1;
    uint64_t longest_ns = 50'000;  ///< of a disk request
    std::string format_options{};  ///< of the qcow2 node, as key=value
  };
  SimulatedImage(const Setup& setup, ImageFiles files);
  ~SimulatedImage();

  SimulatedRuntime& runtime() { return runtime_; }
  SimulatedDisk& disk() { return *disk_; }
  SimulatedDisk& data_disk() { return *data_; }
  bool has_data_disk() const { return data_ != nullptr; }

  Task<Result<void>> open();
  /// Closes everything. The first error is returned; nothing stays open.
  Task<Result<void>> close();
  Backend& backend() { return *backend_; }
  Graph& graph() { return *graph_; }
  /// Of the next open().
  void set_format_options(std::string options) { setup_.format_options = std::move(options); }

  Qcow2Audit audit() const { return Qcow2Audit(disk_->content()); }
  /// What lies beside the image now.
  Qcow2Audit::Beside beside() const;
  std::string describe() const;

 private:
  OptionDict options() const;

  Setup setup_;
  SimulatedRuntime runtime_;
  std::shared_ptr<SimulatedDisk> disk_;
  std::shared_ptr<SimulatedDisk> backing_;
  std::shared_ptr<SimulatedDisk> data_;
  std::unique_ptr<Graph> graph_;
  BackendRef backend_;
};

}  // namespace ashlar
