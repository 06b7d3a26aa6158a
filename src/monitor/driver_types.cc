// From option tables to types.
#include "monitor/driver_types.h"

#include <algorithm>
#include <map>
#include <optional>

#include "graph/generic_options.h"

namespace ashlar::monitor {
namespace {

using Kind = Type::Kind;
using Need = Member::Need;

/// One row as far as it concerns the level that is being defined: "cache.direct" is "direct" in
/// the member "cache".
struct Row {
  std::string name;
  OptionDescription description;
};

std::vector<Row> rows_of(std::span<const OptionDescription> descriptions) {
  std::vector<Row> rows;
  for (const OptionDescription& each : descriptions) rows.push_back({std::string(each.name), each});
  return rows;
}

const Type& type_of(Types& types, const OptionDescription& option) {
  switch (option.type) {
    case OptionType::kText:
      return types.type("str");
    case OptionType::kSwitch:
      return types.type("bool");
    case OptionType::kSize:
    case OptionType::kNumber:
      return types.type("count");
    case OptionType::kChoice:
      break;
  }
  std::string words;
  for (const std::string_view choice : option.choices) {
    if (!words.empty()) words += ' ';
    words += choice;
  }
  return types.type("(" + words + ")");
}

/// The members that `rows` describe; those with dots make objects called `name`.member.
std::vector<Member> members_of(Types& types, std::string_view name, const std::vector<Row>& rows) {
  std::vector<Member> members;
  std::map<std::string, std::vector<Row>> nested;
  for (const Row& row : rows) {
    const size_t dot = row.name.find('.');
    const std::string first = row.name.substr(0, dot);
    if (dot == row.name.npos) {
      members.push_back({first, &type_of(types, row.description), Need::kOptional});
      continue;
    }
    if (!nested.contains(first)) members.push_back({first, nullptr, Need::kOptional});
    nested[first].push_back({row.name.substr(dot + 1), row.description});
  }
  for (Member& member : members) {
    if (member.type != nullptr) continue;
    const std::string below = std::string(name) + "." + member.name;
    member.type = &types.define_object(below, members_of(types, below, nested.at(member.name)));
  }
  return members;
}

const Type& type_of(Types& types, const ObjectOption& object) {
  switch (object.kind) {
    case ObjectOption::Kind::kChild:
      return types.type("BlockdevRef");
    case ObjectOption::Kind::kBacking:
      return types.type("BlockdevRefOrNull");
    case ObjectOption::Kind::kSocketAddress:
      return types.type("SocketAddress");
    case ObjectOption::Kind::kBitmaps:
      break;
  }
  return types.type("[BitmapOrName]");
}

void add_objects(Types& types, std::vector<Member>& members,
                 std::span<const ObjectOption> objects) {
  for (const ObjectOption& object : objects) {
    const bool required = object.need == ObjectOption::Need::kRequired;
    members.push_back({std::string(object.name), &type_of(types, object),
                       required ? Need::kRequired : Need::kOptional});
  }
}

std::vector<OptionDescription> generic_rows() {
  std::vector<OptionDescription> rows;
  for (const auto& row : GenericOptions::table()) rows.push_back(row.description);
  return rows;
}

/// "driver" is the tag, and an enum rather than any text.
std::vector<Member> common_members(Types& types) {
  std::vector<Member> members = members_of(types, "BlockdevOptions", rows_of(generic_rows()));
  for (Member& member : members) {
    if (member.name != "driver") continue;
    member.type = &types.type("BlockdevDriver");
    member.need = Need::kRequired;
  }
  return members;
}

void define_open_types(Types& types, std::span<const DriverSpec* const> drivers) {
  Type& options = types.define_object("BlockdevOptions", common_members(types));
  options.tag = "driver";
  for (const DriverSpec* driver : drivers) {
    const std::string name = "BlockdevOptions/" + std::string(driver->name);
    std::vector<Member> members;
    add_objects(types, members, driver->objects);
    if (driver->open_options != nullptr) {
      for (Member& each : members_of(types, name, rows_of(driver->open_options()))) {
        members.push_back(std::move(each));
      }
    }
    options.cases[std::string(driver->name)] = &types.define_object(name, std::move(members));
  }
}

/// Storage is created by its file name; a format in the node "file".
void define_create_types(Types& types, std::span<const DriverSpec* const> drivers) {
  Type& options = types.define_object("BlockdevCreateOptions", "driver:BlockdevDriver");
  options.tag = "driver";
  for (const DriverSpec* driver : drivers) {
    if (driver->create == nullptr && driver->create_file == nullptr) continue;
    const std::string name = "BlockdevCreateOptions/" + std::string(driver->name);
    const bool storage = driver->create == nullptr;
    std::vector<Member> members =
        types.members(storage ? "filename:str, size:count" : "file:BlockdevRef, size:count");
    std::vector<Row> rows;
    if (driver->create_options != nullptr) {
      for (const OptionDescription& each : driver->create_options()) {
        if (each.name == "size") continue;
        rows.push_back({create_member_name(each.name), each});
      }
    }
    for (Member& each : members_of(types, name, rows)) members.push_back(std::move(each));
    options.cases[std::string(driver->name)] = &types.define_object(name, std::move(members));
  }
}

}  // namespace

std::string create_member_name(std::string_view option) {
  if (option == "compat") return "version";
  std::string name(option);
  std::ranges::replace(name, '_', '-');
  return name;
}

void define_driver_types(Types& types, std::span<const DriverSpec* const> drivers) {
  std::vector<std::string> names;
  for (const DriverSpec* driver : drivers) names.emplace_back(driver->name);
  types.define_enum("BlockdevDriver", std::move(names));
  const Type& options = types.type("BlockdevOptions");
  types.define_alternate("BlockdevRef", {&options, &types.type("str")});
  types.define_alternate("BlockdevRefOrNull", {&options, &types.type("str"), &types.type("null")});
  define_open_types(types, drivers);
  define_create_types(types, drivers);
}

void define_export_types(Types& types, std::span<const ExportSpec* const> exports) {
  types.define_alternate("StrOrNull", {&types.type("str"), &types.type("null")});
  types.define_alternate("OneOrMore", {&types.type("str"), &types.type("[str]")});
  types.define_object("Bitmap", "node:str, name:str");
  types.define_alternate("BitmapOrName", {&types.type("str"), &types.type("Bitmap")});
  std::vector<std::string> names;
  for (const ExportSpec* each : exports) names.emplace_back(each->name);
  types.define_enum("BlockExportType", std::move(names));
  Type& options = types.define_object(
      "BlockExportOptions",
      "type:BlockExportType, id:str, *fixed-iothread:bool, *iothread:OneOrMore, *node-name:str, "
      "*backend:str, *writable:bool, *writethrough:bool, *on-read-error:OnReadError, "
      "*on-write-error:OnWriteError");
  options.tag = "type";
  for (const ExportSpec* each : exports) {
    const std::string name = "BlockExportOptions/" + std::string(each->name);
    std::vector<Member> members;
    add_objects(types, members, each->objects);
    if (each->options != nullptr) {
      for (Member& one : members_of(types, name, rows_of(each->options()))) {
        members.push_back(std::move(one));
      }
    }
    options.cases[std::string(each->name)] = &types.define_object(name, std::move(members));
  }
}

void define_socket_types(Types& types) {
  constexpr std::pair<std::string_view, std::string_view> kKinds[] = {
      {"inet",
       "host:str, port:str, *numeric:bool, *to:count, *ipv4:bool, *ipv6:bool, *keep-alive:bool"},
      {"unix", "path:str, *abstract:bool, *tight:bool"},
      {"vsock", "cid:str, port:str"},
      {"fd", "str:str"},
  };
  Type& flat = types.define_object("SocketAddress", "type:(inet unix vsock fd)");
  Type& wrapped = types.define_object("SocketAddressLegacy", "type:(inet unix vsock fd)");
  flat.tag = wrapped.tag = "type";
  for (const auto& [name, members] : kKinds) {
    const std::string inner = "SocketAddress/" + std::string(name);
    flat.cases[std::string(name)] = &types.define_object(inner, members);
    wrapped.cases[std::string(name)] = &types.define_object(inner + "/data", "data:" + inner);
  }
}

}  // namespace ashlar::monitor
