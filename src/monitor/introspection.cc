// The schema that clients read, made from the tables that check what they send.
#include "monitor/introspection.h"

#include <map>
#include <set>
#include <sstream>

namespace ashlar::monitor {
namespace {

using Kind = Type::Kind;

/// Numbers types and collects their descriptions.
class Writer {
 public:
  explicit Writer(Types& types) : types_(types) {}

  void add_command(const Command& command) {
    Json entry = Json::object();
    entry["name"] = command.name;
    entry["ret-type"] =
        name_of(command.returns.empty() ? types_.type("empty") : types_.type(command.returns));
    entry["meta-type"] = "command";
    entry["arg-type"] = name_of(arguments_type(types_, command));
    if (command.oob == Command::Oob::kAllowed) entry["allow-oob"] = true;
    if (!command.features.empty()) entry["features"] = features(command.features);
    commands_.push_back(std::move(entry));
  }
  void add_event(const EventSpec& event) {
    Json entry = Json::object();
    entry["name"] = event.name;
    entry["meta-type"] = "event";
    entry["arg-type"] = name_of(types_.define_object(std::string(event.name), event.data));
    commands_.push_back(std::move(entry));
  }
  Json finish() && {
    Json all = std::move(commands_);
    for (Json& entry : entries_) all.push_back(std::move(entry));
    return all;
  }

 private:
  static Json features(std::string_view words) {
    Json list = Json::array();
    std::istringstream stream{std::string(words)};
    for (std::string word; stream >> word;) list.push_back(word);
    return list;
  }

  std::string name_of(const Type& type) {
    const auto known = names_.find(&type);
    if (known != names_.end()) return known->second;
    std::string name = builtin_name(type);
    if (name.empty() && type.kind == Kind::kList) {
      name = "[" + name_of(*type.element) + "]";
    } else if (name.empty()) {
      name = std::to_string(next_++);
    }
    names_[&type] = name;
    if (described_.insert(name).second) {
      const size_t place = entries_.size();
      entries_.emplace_back();
      Json entry = describe(type, name);
      entries_[place] = std::move(entry);
    }
    return name;
  }

  static std::string builtin_name(const Type& type) {
    switch (type.kind) {
      case Kind::kText:
        return "str";
      case Kind::kInteger:
      case Kind::kCount:
        return "int";
      case Kind::kNumber:
        return "number";
      case Kind::kSwitch:
        return "bool";
      case Kind::kNull:
        return "null";
      case Kind::kAny:
        return "any";
      default:
        return {};
    }
  }

  Json describe(const Type& type, const std::string& name) {
    Json entry = Json::object();
    entry["name"] = name;
    switch (type.kind) {
      case Kind::kEnum:
        entry["members"] = Json::array();
        for (const std::string& word : type.words) entry["members"].push_back({{"name", word}});
        entry["meta-type"] = "enum";
        entry["values"] = type.words;
        break;
      case Kind::kList:
        entry["element-type"] = name_of(*type.element);
        entry["meta-type"] = "array";
        break;
      case Kind::kObject:
        describe_object(entry, type);
        break;
      case Kind::kAlternate:
        entry["members"] = Json::array();
        for (const Type* one : type.alternatives) {
          entry["members"].push_back({{"type", name_of(*one)}});
        }
        entry["meta-type"] = "alternate";
        break;
      default:
        entry["json-type"] = json_type(type);
        entry["meta-type"] = "builtin";
        break;
    }
    return entry;
  }

  static std::string_view json_type(const Type& type) {
    switch (type.kind) {
      case Kind::kText:
        return "string";
      case Kind::kInteger:
      case Kind::kCount:
        return "int";
      case Kind::kNumber:
        return "number";
      case Kind::kSwitch:
        return "boolean";
      case Kind::kNull:
        return "null";
      default:
        return "value";
    }
  }

  void describe_object(Json& entry, const Type& type) {
    if (!type.tag.empty()) {
      entry["tag"] = type.tag;
      entry["variants"] = Json::array();
      for (const auto& [word, members] : type.cases) {
        Json one = {{"case", word}, {"type", name_of(*members)}};
        entry["variants"].push_back(std::move(one));
      }
    }
    entry["members"] = Json::array();
    for (const Member& member : type.members) {
      Json one = {{"name", member.name}};
      if (member.need == Member::Need::kOptional) one["default"] = nullptr;
      one["type"] = name_of(*member.type);
      entry["members"].push_back(std::move(one));
    }
    entry["meta-type"] = "object";
  }

  Types& types_;
  Json commands_ = Json::array();
  std::vector<Json> entries_;
  std::map<const Type*, std::string> names_;
  std::set<std::string> described_;
  unsigned next_ = 0;
};

}  // namespace

Json describe_schema(Types& types, std::span<const Command* const> commands) {
  Writer writer(types);
  for (const Command* command : commands) writer.add_command(*command);
  for (const EventSpec& event : event_specs()) writer.add_event(event);
  return std::move(writer).finish();
}

}  // namespace ashlar::monitor
