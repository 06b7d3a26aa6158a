// The checks of arguments.
#include "monitor/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "ashlar/options.h"

namespace ashlar::monitor {
namespace {

using Problem = std::optional<std::string>;
using Kind = Type::Kind;

std::string_view expectation(const Type& type) {
  switch (type.kind) {
    case Kind::kText:
    case Kind::kEnum:
      return "string";
    case Kind::kInteger:
    case Kind::kCount:
      return "integer";
    case Kind::kNumber:
      return "number";
    case Kind::kSwitch:
      return "boolean";
    case Kind::kNull:
      return "null";
    case Kind::kList:
      return "array";
    case Kind::kObject:
      return "object";
    case Kind::kUndefined:
    case Kind::kAny:
    case Kind::kAlternate:
      break;
  }
  return type.name;
}

std::string below(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

Problem wrong_type(const Type& type, const std::string& path) {
  return fmt::format("Invalid parameter type for '{}', expected: {}", path, expectation(type));
}

/// Whether JSON of this kind is what `type` wants, without a look inside.
bool looks_like(const Type& type, const JsonInput& value) {
  switch (type.kind) {
    case Kind::kText:
    case Kind::kEnum:
      return value.is_string();
    case Kind::kInteger:
      return value.is_number_integer();
    case Kind::kCount:
      return value.is_number_unsigned();
    case Kind::kNumber:
      return value.is_number();
    case Kind::kSwitch:
      return value.is_boolean();
    case Kind::kNull:
      return value.is_null();
    case Kind::kList:
      return value.is_array();
    case Kind::kObject:
      return value.is_object();
    case Kind::kUndefined:
    case Kind::kAny:
    case Kind::kAlternate:
      break;
  }
  return true;
}

Problem convert_number(JsonInput& value, const std::string& path) {
  const std::string text = value.get<std::string>();
  const char* end = text.data() + text.size();
  int64_t negative = 0;
  if (text.starts_with('-') && std::from_chars(text.data(), end, negative).ptr == end) {
    value = negative;
    return {};
  }
  Result<uint64_t> size = parse_size(text);
  if (!size) return fmt::format("Parameter '{}' expects integer", path);
  value = *size;
  return {};
}

/// Text of a command line becomes what `type` wants.
Problem convert_text(const Type& type, JsonInput& value, const std::string& path) {
  if (!value.is_string()) return {};
  switch (type.kind) {
    case Kind::kInteger:
    case Kind::kCount:
      return convert_number(value, path);
    case Kind::kSwitch: {
      const std::string text = value.get<std::string>();
      if (text != "on" && text != "off") {
        return fmt::format("Parameter '{}' expects 'on' or 'off'", path);
      }
      value = text == "on";
      return {};
    }
    default:
      return {};
  }
}

Problem check_word(const Type& type, const JsonInput& value, const std::string& path) {
  const std::string word = value.get<std::string>();
  if (std::ranges::find(type.words, word) != type.words.end()) return {};
  return fmt::format("Parameter '{}' does not accept value '{}'", path, word);
}

Problem check_alternate(const Type& type, JsonInput& value, const std::string& path,
                        Source source) {
  for (const Type* alternative : type.alternatives) {
    if (looks_like(*alternative, value)) return check_value(*alternative, value, path, source);
  }
  // As messages have it, the type that people would write.
  const Type& first = *type.alternatives.front();
  const bool plain = type.alternatives.size() == 2 && first.kind == Kind::kText &&
                     type.alternatives.back()->kind == Kind::kList;
  return wrong_type(plain ? first : type, path);
}

Problem check_list(const Type& type, JsonInput& value, const std::string& path, Source source) {
  size_t index = 0;
  for (JsonInput& element : value) {
    if (Problem problem =
            check_value(*type.element, element, fmt::format("{}[{}]", path, index++), source)) {
      return problem;
    }
  }
  return {};
}

Problem check_each(std::span<const Member> members, JsonInput& value, const std::string& path,
                   Source source) {
  for (const Member& member : members) {
    const std::string name = below(path, member.name);
    const auto found = value.find(member.name);
    if (found != value.end()) {
      if (Problem problem = check_value(*member.type, *found, name, source)) return problem;
    } else if (member.need == Member::Need::kRequired) {
      return fmt::format("Parameter '{}' is missing", name);
    }
  }
  return {};
}

bool knows(const Type& type, const std::string& name) {
  return std::ranges::find(type.members, name, &Member::name) != type.members.end();
}

/// The further members that an object's tag asks for.
const Type* case_of(const Type& type, const JsonInput& value) {
  if (type.tag.empty() || !value.contains(type.tag)) return nullptr;
  const auto found = type.cases.find(value[type.tag].get<std::string>());
  return found == type.cases.end() ? nullptr : found->second;
}

}  // namespace

Problem check_members(const Type& type, JsonInput& value, const std::string& path, Source source) {
  if (Problem problem = check_each(type.members, value, path, source)) return problem;
  const Type* more = case_of(type, value);
  if (more != nullptr) {
    if (Problem problem = check_each(more->members, value, path, source)) return problem;
  }
  for (const auto& [name, member] : value.items()) {
    if (knows(type, name) || (more != nullptr && knows(*more, name))) continue;
    return fmt::format("Parameter '{}' is unexpected", below(path, name));
  }
  return {};
}

Problem check_value(const Type& type, JsonInput& value, const std::string& path, Source source) {
  if (type.kind == Kind::kAlternate) return check_alternate(type, value, path, source);
  if (source == Source::kText) {
    if (Problem problem = convert_text(type, value, path)) return problem;
  }
  if (!looks_like(type, value)) return wrong_type(type, path);
  switch (type.kind) {
    case Kind::kEnum:
      return check_word(type, value, path);
    case Kind::kList:
      return check_list(type, value, path, source);
    case Kind::kObject:
      return check_members(type, value, path, source);
    default:
      return {};
  }
}

}  // namespace ashlar::monitor
