// The user's objects: secrets, I/O threads and what else object-add makes.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/credentials.h"
#include "ashlar/error.h"
#include "ashlar/loop.h"
#include "ashlar/throttle.h"
#include "monitor/json.h"
#include "monitor/types.h"

namespace ashlar::monitor {

class Objects;

/// What an object is besides its properties.
class ObjectState {
 public:
  virtual ~ObjectState() = default;
  /// Somebody else holds on to it: it is not deleted.
  virtual bool in_use() const { return false; }
  /// A property that changes; empty: it is what was given, or the default.
  virtual std::optional<Json> property(std::string_view /*name*/) const { return std::nullopt; }
  /// Errors: kUnsupported for what cannot be changed.
  virtual Result<void> set_property(const std::string& name, const JsonInput& value);
};

/// One property of a kind of objects.
struct ObjectProperty {
  std::string_view name;
  std::string_view type;      ///< as Types reads it
  std::string_view qom_type;  ///< as qom-list shows it
  /// JSON text of what it is when it was not given; empty: not shown.
  std::string_view default_value{};
  enum class Need : uint8_t { kRequired, kOptional } need = Need::kOptional;
};

/// What an object is made from.
struct NewObject {
  std::string id;
  JsonInput properties;
};

/// One kind of objects.
struct ObjectKind {
  std::string_view name;
  std::string_view parent;  ///< in qom-list-types
  std::span<const ObjectProperty> properties;
  Result<std::unique_ptr<ObjectState>> (*create)(Objects& objects, const NewObject& object);
};
std::span<const ObjectKind> object_kinds();

/// Defines "ObjectOptions" and "ObjectType".
void define_object_types(Types& types);

/// Control loop only. Drivers find their secrets, credentials and throttle groups here.
class Objects final : public CredentialStore, public ThrottleGroupStore {
 public:
  explicit Objects(Runtime& runtime);
  Objects(const Objects&) = delete;
  ~Objects() override;

  /// `options`: "qom-type", "id" and the properties, checked.
  Result<void> add(JsonInput options);
  /// Errors: unknown, or in use.
  Result<void> remove(std::string_view id);

  // CredentialStore
  Result<std::string> secret(std::string_view id) const override;
  Result<std::shared_ptr<const TlsCredentials>> tls_credentials(std::string_view id) const override;
  // ThrottleGroupStore
  std::shared_ptr<ThrottleGroup> throttle_group(std::string_view id) const override;
  /// Whether the authorization object `id` lets `name` in. Nobody is let in without that object.
  bool permits(std::string_view id, std::string_view name) const;
  /// The loop of an iothread; null when there is none of that name.
  Loop* iothread(std::string_view id) const;

  struct Object {
    const ObjectKind* kind = nullptr;
    JsonInput properties;
    std::unique_ptr<ObjectState> state;
  };
  const Object* find(std::string_view id) const;
  Object* find(std::string_view id);
  const std::map<std::string, Object, std::less<>>& all() const { return objects_; }

  /// A loop that no iothread has; null when all are taken.
  Loop* take_loop();
  /// Untuned, for the next one.
  void return_loop(Loop& loop);

 private:
  Runtime& runtime_;
  std::vector<bool> loop_taken_;
  std::map<std::string, Object, std::less<>> objects_;
};

}  // namespace ashlar::monitor
