// The catalog of types, and the texts that describe them.
#include "monitor/types.h"

#include <cassert>

namespace ashlar::monitor {
namespace {

std::string_view trimmed(std::string_view text) {
  const size_t start = text.find_first_not_of(" \n");
  if (start == text.npos) return {};
  return text.substr(start, text.find_last_not_of(" \n") - start + 1);
}

/// Takes what comes before the next comma that is in no bracket.
std::string_view take_item(std::string_view& text) {
  size_t at = 0;
  int depth = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '(' || c == '[') ++depth;
    if (c == ')' || c == ']') --depth;
    if (c == ',' && depth == 0) break;
  }
  const std::string_view item = trimmed(text.substr(0, at));
  text = at < text.size() ? text.substr(at + 1) : std::string_view();
  return item;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    const size_t blank = std::min(text.find(' '), text.size());
    words.emplace_back(text.substr(0, blank));
    text.remove_prefix(blank);
  }
  return words;
}

}  // namespace

Types::Types() {
  using Kind = Type::Kind;
  constexpr std::pair<std::string_view, Kind> kBuiltin[] = {
      {"str", Kind::kText},      {"int", Kind::kInteger}, {"count", Kind::kCount},
      {"number", Kind::kNumber}, {"bool", Kind::kSwitch}, {"null", Kind::kNull},
      {"any", Kind::kAny},
  };
  for (const auto& [name, kind] : kBuiltin) entry(name).kind = kind;
}

Type& Types::entry(std::string_view name) {
  auto found = types_.find(name);
  if (found == types_.end()) {
    found = types_.emplace(std::string(name), std::make_unique<Type>()).first;
    found->second->name = std::string(name);
  }
  return *found->second;
}

const Type& Types::type(std::string_view text) {
  Type& found = entry(text);
  if (found.kind != Type::Kind::kUndefined) return found;
  if (text.starts_with('[')) {
    found.kind = Type::Kind::kList;
    found.element = &type(trimmed(text.substr(1, text.size() - 2)));
  } else if (text.starts_with('(')) {
    found.kind = Type::Kind::kEnum;
    found.words = split_words(text.substr(1, text.size() - 2));
  }
  return found;
}

std::vector<Member> Types::members(std::string_view text) {
  std::vector<Member> result;
  while (!trimmed(text).empty()) {
    std::string_view item = take_item(text);
    Member member;
    if (item.starts_with('*')) {
      member.need = Member::Need::kOptional;
      item.remove_prefix(1);
    }
    const size_t colon = item.find(':');
    assert(colon != item.npos);
    member.name = std::string(item.substr(0, colon));
    member.type = &type(trimmed(item.substr(colon + 1)));
    result.push_back(std::move(member));
  }
  return result;
}

void Types::define_enum(std::string_view name, std::vector<std::string> words) {
  Type& defined = entry(name);
  defined.kind = Type::Kind::kEnum;
  defined.words = std::move(words);
}

Type& Types::define_object(std::string_view name, std::string_view text) {
  return define_object(name, members(text));
}

Type& Types::define_object(std::string_view name, std::vector<Member> members) {
  Type& defined = entry(name);
  defined.kind = Type::Kind::kObject;
  defined.members = std::move(members);
  return defined;
}

void Types::define_alternate(std::string_view name, std::vector<const Type*> alternatives) {
  Type& defined = entry(name);
  defined.kind = Type::Kind::kAlternate;
  defined.alternatives = std::move(alternatives);
}

}  // namespace ashlar::monitor
