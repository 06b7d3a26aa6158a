// Who may come in, by the name that a TLS handshake has proved: what the objects authz-simple,
// authz-list and authz-list-file say.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/options.h"

namespace ashlar {

/// Rules in order: the first whose pattern matches decides, `otherwise` where none does.
struct AuthorizationRules {
  enum class Policy : uint8_t { kDeny, kAllow };
  struct Rule {
    std::string match;
    enum class Format : uint8_t {
      kExact,
      kGlob,  ///< '*' stands for any letters, '?' for one
    } format = Format::kExact;
    Policy policy = Policy::kDeny;
  };
  std::vector<Rule> rules;
  Policy otherwise = Policy::kDeny;

  /// Takes "policy" and "rules.N.match", "rules.N.policy", "rules.N.format" out of `members`.
  /// Errors: kInvalidArgument (reasons "authz-member" {name}, those of options).
  static Result<AuthorizationRules> take(OptionDict& members);
  bool allow(std::string_view name) const;

  static constexpr size_t kMostRules = 1000;
};

/// One object of authorization. Control loop only.
class Authorization {
 public:
  virtual ~Authorization() = default;
  /// Whether whoever has proved to be `name` may come in. Rules in a file are read again when the
  /// file has changed, which blocks for as long as that takes; nobody may come in while it says
  /// nothing that can be read.
  virtual bool allows(std::string_view name) = 0;

  /// The object of `type` that `members` describe.
  /// Errors: kInvalidArgument, kNotFound, kPermission (reasons "authz-type" {type}, "authz-member"
  /// {name}, "authz-file" {path}).
  static Result<std::unique_ptr<Authorization>> make(std::string_view type, OptionDict members);
  static bool is_type(std::string_view type);
};

}  // namespace ashlar
