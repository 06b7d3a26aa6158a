// Arguments as options.
#include "monitor/option_dict.h"

namespace ashlar::monitor {
namespace {

ErrorPolicy policy_of(const std::string& word) {
  if (word == "ignore") return ErrorPolicy::kIgnore;
  if (word == "stop") return ErrorPolicy::kStop;
  if (word == "enospc") return ErrorPolicy::kStopOnNoSpace;
  return ErrorPolicy::kReport;
}

}  // namespace

Result<OptionDict> to_options(const JsonInput& object) {
  return OptionDict::parse_json(object.dump());
}

bool take_policies(JsonInput& arguments, Monitor::Policies& policies) {
  bool any = false;
  for (const auto& [name, policy] : {std::pair{"on-read-error", &policies.on_read},
                                     std::pair{"on-write-error", &policies.on_write}}) {
    const auto found = arguments.find(name);
    if (found == arguments.end()) continue;
    *policy = policy_of(found->get<std::string>());
    arguments.erase(found);
    any = true;
  }
  return any;
}

}  // namespace ashlar::monitor
