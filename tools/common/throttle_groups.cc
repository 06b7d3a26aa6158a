// Creating and removing throttle groups, in the peer's words.
#include "tools/common/throttle_groups.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "tools/common/peer_text.h"

namespace ashlar::tools {

std::shared_ptr<ThrottleGroup> ThrottleGroups::throttle_group(std::string_view name) const {
  const auto found = groups_.find(name);
  return found == groups_.end() ? nullptr : found->second;
}

Result<void> ThrottleGroups::add(const std::string& name, OptionDict options) {
  ThrottleLimits limits;
  Result<void> done = limits.take(options, "x-");
  if (done) done = limits.take(options, "limits.");
  if (done && !options.empty()) {
    const std::string& key = options.entries().front().first;
    return fail(ErrorCode::kInvalidArgument, fmt::format("Parameter '{}' is unexpected", key));
  }
  std::shared_ptr<ThrottleGroup> group = ThrottleGroup::create(name);
  if (done) done = group->set_limits(limits);
  if (!done) return fail(done.error().code(), peer_text(done.error()));
  groups_.emplace(name, std::move(group));
  return ok();
}

Result<void> ThrottleGroups::remove(std::string_view name) {
  const auto found = groups_.find(name);
  if (found == groups_.end()) {
    return fail(ErrorCode::kNotFound, fmt::format("object '{}' not found", name));
  }
  if (found->second->members() != 0) {
    return fail(ErrorCode::kBusy, fmt::format("object '{}' is in use, can not be deleted", name));
  }
  groups_.erase(found);
  return ok();
}

std::string ThrottleGroups::help() {
  std::vector<std::string> rows{"  limits=<ThrottleLimits>\n"};
  for (const auto& [name, value] : ThrottleLimits().entries()) {
    rows.push_back(fmt::format("  x-{}=<int>\n", name));
  }
  std::ranges::sort(rows);
  return fmt::format("throttle-group options:\n{}", fmt::join(rows, ""));
}

}  // namespace ashlar::tools
