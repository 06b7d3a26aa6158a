// What an opened image says about itself, and what checking and measuring it gives.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace ashlar {

/// A tree of named values, in order: format-specific information for people and for JSON.
class InfoValue {
 public:
  using List = std::vector<InfoValue>;
  using Object = std::vector<std::pair<std::string, InfoValue>>;
  using Storage = std::variant<bool, int64_t, std::string, List, Object>;

  InfoValue(bool value) : value_(value) {}                      // NOLINT: a value
  InfoValue(int64_t value) : value_(value) {}                   // NOLINT
  InfoValue(std::string value) : value_(std::move(value)) {}    // NOLINT
  InfoValue(const char* value) : value_(std::string(value)) {}  // NOLINT
  InfoValue(List value) : value_(std::move(value)) {}           // NOLINT
  InfoValue(Object value) : value_(std::move(value)) {}         // NOLINT
  const Storage& value() const { return value_; }

 private:
  Storage value_;
};

struct SnapshotInfo {
  std::string id;
  std::string name;
  uint64_t vm_state_size = 0;
  uint32_t date_seconds = 0;
  uint32_t date_nanoseconds = 0;
  uint64_t vm_clock_ns = 0;
  std::optional<uint64_t> instruction_count{};
  uint64_t disk_size = 0;
};

struct ImageInfo {
  uint64_t cluster_size = 0;  ///< 0: the format has none
  bool encrypted = false;
  bool dirty = false;       ///< not shut down cleanly
  bool compressed = false;  ///< the format says everything is compressed
  std::string backing_file;
  std::string backing_format;
  std::vector<SnapshotInfo> snapshots;
  std::string specific_type;     ///< of the object below, e.g. "qcow2"; empty: none
  InfoValue::Object specific{};  ///< in the peer's order and with its names
};

/// What `check` may change.
enum class Repair : uint8_t { kNothing, kLeaks, kAll };

/// One finding, with the words for people and the values tools print.
struct CheckFinding {
  enum class Kind : uint8_t { kLeak, kCorruption, kInternalError, kRepair, kNote } kind;
  std::string message;      ///< Ashlar's words
  std::string_view reason;  ///< stable id, see Error::because()
  std::vector<std::string> values;
};

struct CheckReport {
  uint64_t corruptions = 0;
  uint64_t leaks = 0;
  uint64_t check_errors = 0;
  uint64_t corruptions_fixed = 0;
  uint64_t leaks_fixed = 0;
  uint64_t image_end_offset = 0;
  uint64_t total_clusters = 0;
  uint64_t allocated_clusters = 0;
  uint64_t fragmented_clusters = 0;
  uint64_t compressed_clusters = 0;
};

/// How to check, and whom to tell of each finding as it is found.
struct CheckOptions {
  Repair repair = Repair::kNothing;
  std::function<void(const CheckFinding&)> on_finding;
};

/// Bytes an image file will need.
struct Measurement {
  uint64_t required = 0;
  uint64_t fully_allocated = 0;
  std::optional<uint64_t> bitmaps;
};

}  // namespace ashlar
