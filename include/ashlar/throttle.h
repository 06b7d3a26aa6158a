// Limits on requests: how many and how many bytes per second, shared by all users of a group.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/options.h"

namespace ashlar {

/// Limits of reads, of writes, and of both together.
struct ThrottleLimits {
  enum Kind : uint8_t {
    kBytesTotal,
    kBytesRead,
    kBytesWrite,
    kRequestsTotal,
    kRequestsRead,
    kRequestsWrite,
    kKinds
  };
  struct Rate {
    uint64_t average = 0;        ///< per second in the long run; 0: no limit
    uint64_t burst = 0;          ///< per second while a burst lasts; 0: no bursts
    uint64_t burst_seconds = 1;  ///< how long that is
    bool operator==(const Rate&) const = default;
  };
  std::array<Rate, kKinds> rates{};
  /// A larger request counts as several; 0: each counts as one.
  uint64_t request_size = 0;
  bool operator==(const ThrottleLimits&) const = default;

  /// Largest average and burst.
  static constexpr uint64_t kMaxRate = 1'000'000'000'000'000;

  /// Takes "iops-total", "bps-read-max", "iops-write-max-length", "iops-size" and so on out of
  /// `dict`, each with `prefix` in front. What is not there stays as it is.
  /// Errors: kInvalidArgument (reasons "throttle-type", "throttle-range", "throttle-length-range").
  Result<void> take(OptionDict& dict, std::string_view prefix = {});
  /// Whether all of it makes sense together. Errors: kInvalidArgument, reason "throttle-...".
  Result<void> check() const;
  /// All values by the names that take() knows.
  std::vector<std::pair<std::string, uint64_t>> entries() const;
};

/// A group. Its users (backends, throttle filters) take turns. Any loop.
class ThrottleGroup {
 public:
  /// Without limits at first.
  static std::shared_ptr<ThrottleGroup> create(std::string name);
  virtual ~ThrottleGroup() = default;
  virtual const std::string& name() const noexcept = 0;
  virtual ThrottleLimits limits() const = 0;
  /// Requests that wait are measured by the new limits at once. Errors: those of check().
  virtual Result<void> set_limits(const ThrottleLimits& limits) = 0;
  /// Users; a group that has some should not be deleted.
  virtual size_t members() const = 0;
};

/// Whoever keeps the user's groups. Drivers ask while they open. Control loop only.
class ThrottleGroupStore {
 public:
  virtual ~ThrottleGroupStore() = default;
  /// Null when there is none of that name.
  virtual std::shared_ptr<ThrottleGroup> throttle_group(std::string_view name) const = 0;
};
/// Has nothing: the default of a graph.
std::shared_ptr<const ThrottleGroupStore> no_throttle_groups();

}  // namespace ashlar
