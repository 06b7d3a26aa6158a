// The table of objects by name.
#include "monitor/objects.h"

#include <fmt/format.h>

#include <algorithm>

#include "async/loop_tuning.h"
#include "monitor/errors.h"
#include "monitor/object_states.h"

namespace ashlar::monitor {
namespace {

bool is_identifier(std::string_view id) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (id.empty() || !is_letter(id[0])) return false;
  return std::ranges::all_of(id, [is_letter](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

const ObjectKind* find_kind(std::string_view name) {
  const auto kinds = object_kinds();
  const auto found = std::ranges::find(kinds, name, &ObjectKind::name);
  return found == kinds.end() ? nullptr : &*found;
}

}  // namespace

void define_object_types(Types& types) {
  types.define_object("ThrottleLimits", throttle_limits_members());
  types.define_object("AuthzRule", "match:str, policy:(deny allow), *format:(exact glob)");
  std::vector<std::string> names;
  for (const ObjectKind& kind : object_kinds()) names.emplace_back(kind.name);
  types.define_enum("ObjectType", std::move(names));
  Type& options = types.define_object("ObjectOptions", "qom-type:ObjectType, id:str");
  options.tag = "qom-type";
  for (const ObjectKind& kind : object_kinds()) {
    std::vector<Member> members;
    for (const ObjectProperty& property : kind.properties) {
      const bool required = property.need == ObjectProperty::Need::kRequired;
      members.push_back({std::string(property.name), &types.type(property.type),
                         required ? Member::Need::kRequired : Member::Need::kOptional});
    }
    const std::string name = "ObjectOptions/" + std::string(kind.name);
    options.cases[std::string(kind.name)] = &types.define_object(name, std::move(members));
  }
}

Objects::Objects(Runtime& runtime) : runtime_(runtime), loop_taken_(runtime.loop_count(), false) {
  loop_taken_[0] = true;  // the control loop is nobody's
}

Objects::~Objects() = default;

Result<void> Objects::add(JsonInput options) {
  const std::string id = options["id"].get<std::string>();
  const ObjectKind* kind = find_kind(options["qom-type"].get<std::string>());
  if (!is_identifier(id)) return refuse("Parameter 'id' expects an identifier");
  if (objects_.contains(id)) {
    return refuse(
        fmt::format("attempt to add duplicate property '{}' to object (type 'container')", id));
  }
  options.erase("id");
  options.erase("qom-type");
  NewObject object = {id, std::move(options)};
  Result<std::unique_ptr<ObjectState>> state = kind->create(*this, object);
  if (!state) return fail(state.error());
  objects_[id] = {kind, std::move(object.properties), std::move(*state)};
  return ok();
}

Result<void> Objects::remove(std::string_view id) {
  const auto found = objects_.find(id);
  if (found == objects_.end()) return refuse(fmt::format("object '{}' not found", id));
  if (found->second.state->in_use()) {
    return refuse(fmt::format("object '{}' is in use, can not be deleted", id), ErrorCode::kBusy);
  }
  objects_.erase(found);
  return ok();
}

const Objects::Object* Objects::find(std::string_view id) const {
  const auto found = objects_.find(id);
  return found == objects_.end() ? nullptr : &found->second;
}

Result<std::string> Objects::secret(std::string_view id) const {
  const Object* object = find(id);
  const auto* state =
      object == nullptr ? nullptr : dynamic_cast<const SecretState*>(object->state.get());
  if (state == nullptr) return fail(secret_not_found(id));
  return state->bytes();
}

Result<std::shared_ptr<const TlsCredentials>> Objects::tls_credentials(std::string_view id) const {
  const Object* object = find(id);
  if (object == nullptr) return fail(tls_credentials_not_found(id));
  const auto* state = dynamic_cast<const TlsState*>(object->state.get());
  if (state != nullptr) return state->credentials();
  return fail(Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" holds no TLS credentials", id))
                  .because("tls-type", {std::string(id)}));
}

Objects::Object* Objects::find(std::string_view id) {
  const auto found = objects_.find(id);
  return found == objects_.end() ? nullptr : &found->second;
}

std::shared_ptr<ThrottleGroup> Objects::throttle_group(std::string_view id) const {
  const Object* object = find(id);
  if (object == nullptr) return nullptr;
  const auto* state = dynamic_cast<const ThrottleState*>(object->state.get());
  return state == nullptr ? nullptr : state->group();
}

Result<void> ObjectState::set_property(const std::string& name, const JsonInput&) {
  return refuse(fmt::format("Property '{}' is not writable", name), ErrorCode::kUnsupported);
}

bool Objects::permits(std::string_view id, std::string_view name) const {
  const Object* object = find(id);
  if (object == nullptr || name.empty()) return false;
  const auto* state = dynamic_cast<const AuthorizationState*>(object->state.get());
  return state != nullptr && state->authorization().allows(name);
}

Loop* Objects::iothread(std::string_view id) const {
  const Object* object = find(id);
  if (object == nullptr) return nullptr;
  const auto* state = dynamic_cast<const IoThreadState*>(object->state.get());
  return state == nullptr ? nullptr : &state->loop();
}

Loop* Objects::take_loop() {
  const auto free = std::ranges::find(loop_taken_, false);
  if (free == loop_taken_.end()) return nullptr;
  *free = true;
  return &runtime_.loop(static_cast<unsigned>(free - loop_taken_.begin()));
}

void Objects::return_loop(Loop& loop) {
  tune(loop, {});
  loop_taken_[loop.index()] = false;
}

}  // namespace ashlar::monitor
