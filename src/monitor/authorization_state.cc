// Objects of authorization.
#include "monitor/object_states.h"
#include "monitor/option_dict.h"

namespace ashlar::monitor {
namespace {

Result<std::unique_ptr<Authorization>> make(std::string_view type, const JsonInput& properties) {
  Result<OptionDict> members = to_options(properties);
  if (!members) return fail(members.error());
  return Authorization::make(type, std::move(*members));
}

}  // namespace

Result<std::unique_ptr<ObjectState>> AuthorizationState::create(std::string_view type,
                                                                const JsonInput& properties) {
  Result<std::unique_ptr<Authorization>> made = make(type, properties);
  if (!made) return fail(made.error());
  return std::unique_ptr<ObjectState>(new AuthorizationState(type, properties, std::move(*made)));
}

std::optional<Json> AuthorizationState::property(std::string_view name) const {
  const auto given = properties_.find(std::string(name));
  if (given == properties_.end()) return std::nullopt;
  return Json(*given);
}

Result<void> AuthorizationState::set_property(const std::string& name, const JsonInput& value) {
  JsonInput changed = properties_;
  changed[name] = value;
  Result<std::unique_ptr<Authorization>> made = make(type_, changed);
  if (!made) return fail(made.error());
  properties_ = std::move(changed);
  authorization_ = std::move(*made);
  return ok();
}

}  // namespace ashlar::monitor
