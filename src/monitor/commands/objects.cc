// Commands about the user's objects, and the paths under which they are seen.
#include <fmt/format.h>

#include <algorithm>

#include "monitor/errors.h"
#include "monitor/monitor.h"

namespace ashlar::monitor {
namespace {

using Property = ObjectProperty;

Json property_row(std::string_view name, std::string_view type) {
  Json row = Json::object();
  row["name"] = name;
  row["type"] = type;
  return row;
}

Task<Result<Json>> object_add(Monitor& monitor, JsonInput arguments) {
  Result<void> added = monitor.objects().add(std::move(arguments));
  if (!added) co_return fail(added.error());
  co_return nothing();
}

Task<Result<Json>> object_del(Monitor& monitor, JsonInput arguments) {
  const std::string id = arguments["id"].get<std::string>();
  const Loop* loop = monitor.objects().iothread(id);
  if (loop != nullptr && (monitor.exports().uses(*loop) || monitor.nbd().uses(*loop))) {
    co_return refuse(fmt::format("object '{}' is in use, can not be deleted", id),
                     ErrorCode::kBusy);
  }
  Result<void> removed = monitor.objects().remove(id);
  if (!removed) co_return fail(removed.error());
  co_return nothing();
}

/// The object that "/objects/ID" (or just ID) names.
const Objects::Object* find_object(Monitor& monitor, std::string_view path) {
  constexpr std::string_view kFolder = "/objects/";
  if (path.starts_with(kFolder)) path.remove_prefix(kFolder.size());
  return monitor.objects().find(path);
}

Task<Result<Json>> qom_list(Monitor& monitor, JsonInput arguments) {
  const std::string path = arguments["path"].get<std::string>();
  Json list = Json::array();
  list.push_back(property_row("type", "string"));
  if (path == "/") {
    list.push_back(property_row("objects", "child<container>"));
    list.push_back(property_row("chardevs", "child<container>"));
    co_return list;
  }
  if (path == "/chardevs") {
    if (monitor.chardevs() == nullptr) co_return list;
    for (const ChardevHost::Listed& each : monitor.chardevs()->list_chardevs()) {
      list.push_back(property_row(each.label, "child<chardev>"));
    }
    co_return list;
  }
  if (path == "/objects") {
    for (const auto& [id, object] : monitor.objects().all()) {
      list.push_back(property_row(id, fmt::format("child<{}>", object.kind->name)));
    }
    co_return list;
  }
  const Objects::Object* object = find_object(monitor, path);
  if (object == nullptr) co_return device_not_found(path);
  for (const Property& property : object->kind->properties) {
    list.push_back(property_row(property.name, property.qom_type));
  }
  co_return list;
}

Result<Json> property_value(const Objects::Object& object, const std::string& name) {
  if (name == "type") return Json(object.kind->name);
  const auto row = std::ranges::find(object.kind->properties, name, &Property::name);
  if (row == object.kind->properties.end()) {
    return refuse(fmt::format("Property '{}.{}' not found", object.kind->name, name));
  }
  if (std::optional<Json> now = object.state->property(name)) return std::move(*now);
  const auto given = object.properties.find(name);
  if (given != object.properties.end()) return Json(*given);
  if (row->default_value.empty()) return Json("");
  return Json::parse(row->default_value);
}

Task<Result<Json>> qom_get(Monitor& monitor, JsonInput arguments) {
  const std::string path = arguments["path"].get<std::string>();
  const Objects::Object* object = find_object(monitor, path);
  if (object == nullptr) co_return device_not_found(path);
  co_return property_value(*object, arguments["property"].get<std::string>());
}

Task<Result<Json>> qom_set(Monitor& monitor, JsonInput arguments) {
  std::string path = arguments["path"].get<std::string>();
  constexpr std::string_view kFolder = "/objects/";
  if (path.starts_with(kFolder)) path.erase(0, kFolder.size());
  Objects::Object* object = monitor.objects().find(path);
  if (object == nullptr) co_return device_not_found(arguments["path"].get<std::string>());
  const std::string name = arguments["property"].get<std::string>();
  const auto row = std::ranges::find(object->kind->properties, name, &Property::name);
  if (row == object->kind->properties.end()) {
    co_return refuse(fmt::format("Property '{}.{}' not found", object->kind->name, name));
  }
  JsonInput& value = arguments["value"];
  std::optional<std::string> problem =
      check_value(monitor.types().type(row->type), value, name, Source::kJson);
  if (problem) co_return refuse(std::move(*problem));
  Result<void> set = object->state->set_property(name, value);
  if (!set) co_return fail(set.error());
  co_return nothing();
}

Task<Result<Json>> qom_list_types(Monitor&, JsonInput arguments) {
  const std::string wanted = arguments.value("implements", std::string());
  Json list = Json::array();
  for (const ObjectKind& kind : object_kinds()) {
    const bool matches =
        wanted.empty() || wanted == "object" || wanted == kind.name || wanted == kind.parent;
    if (!matches) continue;
    Json row = Json::object();
    row["name"] = kind.name;
    row["parent"] = kind.parent;
    list.push_back(std::move(row));
  }
  co_return list;
}

Task<Result<Json>> qom_list_properties(Monitor&, JsonInput arguments) {
  const std::string name = arguments["typename"].get<std::string>();
  const auto kinds = object_kinds();
  const auto kind = std::ranges::find(kinds, name, &ObjectKind::name);
  if (kind == kinds.end()) {
    co_return fail(Error(ErrorCode::kNotFound, fmt::format("Class '{}' not found", name))
                       .because(kDeviceNotFound));
  }
  Json list = Json::array();
  list.push_back(property_row("type", "string"));
  for (const Property& property : kind->properties) {
    list.push_back(property_row(property.name, property.qom_type));
  }
  co_return list;
}

constexpr Command kCommands[] = {
    {"object-add", "@ObjectOptions", "", object_add, "makes a secret, an I/O thread ..."},
    {"object-del", "id:str", "", object_del, "removes an object that is not in use"},
    {"qom-list", "path:str", "[ObjectPropertyInfo]", qom_list, "what there is below a path"},
    {"qom-get", "path:str, property:str", "any", qom_get, "one property of an object"},
    {"qom-set", "path:str, property:str, value:any", "", qom_set, "changes a property"},
    {"qom-list-types", "*implements:str, *abstract:bool", "[ObjectTypeInfo]", qom_list_types,
     "the kinds of objects"},
    {"qom-list-properties", "typename:str", "[ObjectPropertyInfo]", qom_list_properties,
     "the properties of a kind"},
};

}  // namespace

std::span<const Command> object_commands() { return kCommands; }

}  // namespace ashlar::monitor
