// Throttle groups as users create them: --object throttle-group, object-add.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "ashlar/error.h"
#include "ashlar/options.h"
#include "ashlar/throttle.h"

namespace ashlar::tools {

/// The user's groups. A graph shares them with who creates them.
class ThrottleGroups final : public ThrottleGroupStore {
 public:
  std::shared_ptr<ThrottleGroup> throttle_group(std::string_view name) const override;
  /// Creates a group that nobody has yet, with limits as "x-iops-total" or "limits.iops-total".
  /// Errors carry the whole text for the user.
  Result<void> add(const std::string& name, OptionDict options);
  /// Errors: kNotFound, kBusy while it is in use.
  Result<void> remove(std::string_view name);

  /// What `--object throttle-group,help` prints.
  static std::string help();

 private:
  std::map<std::string, std::shared_ptr<ThrottleGroup>, std::less<>> groups_;
};

}  // namespace ashlar::tools
