// The words for permissions.
#include "ashlar/permissions.h"

#include <array>
#include <string_view>
#include <utility>

namespace ashlar {

std::string Permissions::describe() const {
  static constexpr std::array<std::pair<Permission, std::string_view>, 4> kWords{{
      {Permission::kConsistentRead, "consistent read"},
      {Permission::kWrite, "write"},
      {Permission::kWriteUnchanged, "write unchanged"},
      {Permission::kResize, "resize"},
  }};
  std::string text;
  for (const auto& [permission, word] : kWords) {
    if (!has(permission)) continue;
    if (!text.empty()) text += ", ";
    text += word;
  }
  return text.empty() ? "nothing" : text;
}

}  // namespace ashlar
