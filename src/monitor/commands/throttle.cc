// Limits on the requests of backends.
#include <fmt/format.h>

#include <array>

#include "monitor/errors.h"
#include "monitor/monitor.h"
#include "monitor/option_dict.h"

namespace ashlar::monitor {
namespace {

struct LimitName {
  const char* member;
  const char* limit;
};
constexpr std::array<LimitName, 6> kRates{{{"bps", "bps-total"},
                                           {"bps_rd", "bps-read"},
                                           {"bps_wr", "bps-write"},
                                           {"iops", "iops-total"},
                                           {"iops_rd", "iops-read"},
                                           {"iops_wr", "iops-write"}}};

void copy_limit(const JsonInput& from, const std::string& member, OptionDict& to,
                const std::string& limit) {
  if (from.contains(member)) to.set(limit, from[member].get<int64_t>());
}

/// The members of the command by the names that limits have.
OptionDict limit_options(const JsonInput& arguments) {
  OptionDict options;
  for (const LimitName& rate : kRates) {
    const std::string member = rate.member;
    const std::string limit = rate.limit;
    copy_limit(arguments, member, options, limit);
    copy_limit(arguments, member + "_max", options, limit + "-max");
    copy_limit(arguments, member + "_max_length", options, limit + "-max-length");
  }
  copy_limit(arguments, "iops_size", options, "iops-size");
  return options;
}

bool limits_nothing(const ThrottleLimits& limits) {
  for (const ThrottleLimits::Rate& rate : limits.rates) {
    if (rate.average != 0) return false;
  }
  return true;
}

/// Limits of all zeroes take a backend out of its group.
Task<Result<Json>> set_throttle(Monitor& monitor, JsonInput arguments) {
  const std::string id = arguments["id"].get<std::string>();
  const Monitor::BackendRecord* record = monitor.find_backend(id);
  const BackendRef backend = record != nullptr ? record->backend : monitor.exports().backend_of(id);
  if (!backend) co_return device_not_found(id);
  ThrottleLimits limits;
  OptionDict options = limit_options(arguments);
  if (Result<void> taken = limits.take(options); !taken) co_return fail(taken.error());
  if (Result<void> sound = limits.check(); !sound) co_return fail(sound.error());
  std::shared_ptr<ThrottleGroup> group;
  if (!limits_nothing(limits)) {
    group = monitor.throttle_group(arguments.value("group", id));
    if (Result<void> set = group->set_limits(limits); !set) co_return fail(set.error());
  }
  co_await backend->set_throttle(std::move(group));
  co_return nothing();
}

constexpr Command kCommands[] = {
    {"block_set_io_throttle",
     "id:str, bps:int, bps_rd:int, bps_wr:int, iops:int, iops_rd:int, iops_wr:int, *bps_max:int, "
     "*bps_rd_max:int, *bps_wr_max:int, *iops_max:int, *iops_rd_max:int, *iops_wr_max:int, "
     "*bps_max_length:int, *bps_rd_max_length:int, *bps_wr_max_length:int, *iops_max_length:int, "
     "*iops_rd_max_length:int, *iops_wr_max_length:int, *iops_size:int, *group:str",
     "", set_throttle, "limits the requests of a backend, alone or with others of a group"},
};

}  // namespace

std::span<const Command> throttle_commands() { return kCommands; }

}  // namespace ashlar::monitor
