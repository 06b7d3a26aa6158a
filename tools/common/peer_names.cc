// The order of members in json: names.
#include "tools/common/peer_names.h"

#include <string_view>

namespace ashlar::tools {
namespace {

// The peer's order is that of a hash table; these were seen to come before "driver".
constexpr std::string_view kBeforeTheDriver[] = {"read-zeroes", "offset", "throttle-group", "image",
                                                 "children"};

void move_member(std::string_view name, OptionDict& from, OptionDict& to) {
  if (const OptionValue* value = from.find(name)) {
    to.set(name, *value);
    from.erase(name);
  }
  if (from.has_subtree(name)) to.add_subtree(name, in_shown_order(from.take_subtree(name)));
}

}  // namespace

OptionDict in_shown_order(OptionDict options) {
  OptionDict ordered;
  for (const std::string_view name : kBeforeTheDriver) move_member(name, options, ordered);
  while (!options.empty()) {
    const std::string first = options.entries().front().first;
    move_member(first.substr(0, first.find('.')), options, ordered);
  }
  return ordered;
}

std::string shown_name(const Node& node) {
  constexpr std::string_view kJson = "json:";
  std::string name = node.filename();
  if (!name.starts_with(kJson)) return name;
  Result<OptionDict> options = OptionDict::parse_json(std::string_view(name).substr(kJson.size()));
  return options ? in_shown_order(std::move(*options)).to_json_name() : name;
}

}  // namespace ashlar::tools
