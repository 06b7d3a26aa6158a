// The types of what clients send and get: one catalog serves the argument checks and
// query-qmp-schema alike.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ashlar::monitor {

struct Type;

/// One member of an object.
struct Member {
  std::string name;
  const Type* type = nullptr;
  enum class Need : uint8_t { kRequired, kOptional } need = Need::kRequired;
};

/// A type. Those that refer to each other may do so in circles.
struct Type {
  enum class Kind : uint8_t {
    kUndefined,
    kText,
    kInteger,
    kCount,  ///< an integer that is not negative
    kNumber,
    kSwitch,
    kNull,
    kAny,
    kEnum,
    kList,
    kObject,
    kAlternate,  ///< one of several types that JSON tells apart
  } kind = Kind::kUndefined;
  std::string name;
  std::vector<std::string> words;            ///< of an enum
  const Type* element = nullptr;             ///< of a list
  std::vector<Member> members;               ///< of an object, in the order they are checked
  std::string tag;                           ///< the member that says which case an object is
  std::map<std::string, const Type*> cases;  ///< further members by the tag's value
  std::vector<const Type*> alternatives;     ///< of an alternate
};

/// All types of one monitor, by name. Text describes them:
///   a type      "str", "int", "count", "number", "bool", "null", "any", a defined name, "[T]" for
///               a list of T, "(a b c)" for an enum in place
///   members     "name:T, *name:T" where the star means optional
class Types {
 public:
  Types();
  Types(const Types&) = delete;

  /// The type that `text` describes. A name may be defined later.
  const Type& type(std::string_view text);
  std::vector<Member> members(std::string_view text);

  void define_enum(std::string_view name, std::vector<std::string> words);
  Type& define_object(std::string_view name, std::string_view members);
  Type& define_object(std::string_view name, std::vector<Member> members);
  void define_alternate(std::string_view name, std::vector<const Type*> alternatives);

 private:
  Type& entry(std::string_view name);
  std::map<std::string, std::unique_ptr<Type>, std::less<>> types_;
};

}  // namespace ashlar::monitor
