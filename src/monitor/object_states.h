// What the kinds of objects hold.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "ashlar/loop.h"
#include "async/authorization.h"
#include "async/loop_tuning.h"
#include "async/tls.h"
#include "monitor/objects.h"

namespace ashlar::monitor {

/// The bytes of a password or key, wiped at the end.
class SecretState final : public ObjectState {
 public:
  explicit SecretState(std::string bytes) : bytes_(std::move(bytes)) {}
  ~SecretState() override;
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// A loop of the runtime, taken while the object exists. Its thread starts at first use.
class IoThreadState final : public ObjectState {
 public:
  IoThreadState(Objects& objects, Loop& loop);
  ~IoThreadState() override;
  Loop& loop() const { return loop_; }
  /// Every property of this kind that is in `properties`.
  Result<void> set_all(const JsonInput& properties);
  std::optional<Json> property(std::string_view name) const override;
  Result<void> set_property(const std::string& name, const JsonInput& value) override;

 private:
  /// Takes a value without telling the loop.
  Result<void> take(const std::string& name, const JsonInput& value);
  Result<void> apply();

  Objects& objects_;
  Loop& loop_;
  LoopTuning tuning_;
  // There is no pool of threads behind a loop that they could bound.
  uint64_t thread_pool_min_ = 0;
  uint64_t thread_pool_max_ = 64;
};

/// Loaded TLS credentials; connections that use them keep them when the object has gone.
class TlsState final : public ObjectState {
 public:
  explicit TlsState(std::shared_ptr<const TlsCredentials> credentials)
      : credentials_(std::move(credentials)) {}
  const std::shared_ptr<const TlsCredentials>& credentials() const { return credentials_; }

 private:
  std::shared_ptr<const TlsCredentials> credentials_;
};

/// A throttle group, whose limits may be changed.
class ThrottleState final : public ObjectState {
 public:
  explicit ThrottleState(std::shared_ptr<ThrottleGroup> group) : group_(std::move(group)) {}
  const std::shared_ptr<ThrottleGroup>& group() const { return group_; }
  bool in_use() const override { return group_->members() != 0; }
  std::optional<Json> property(std::string_view name) const override;
  Result<void> set_property(const std::string& name, const JsonInput& value) override;

 private:
  std::shared_ptr<ThrottleGroup> group_;
};

/// An authorization, whose properties may be changed.
class AuthorizationState final : public ObjectState {
 public:
  static Result<std::unique_ptr<ObjectState>> create(std::string_view type,
                                                     const JsonInput& properties);
  Authorization& authorization() const { return *authorization_; }
  std::optional<Json> property(std::string_view name) const override;
  Result<void> set_property(const std::string& name, const JsonInput& value) override;

 private:
  AuthorizationState(std::string_view type, JsonInput properties,
                     std::unique_ptr<Authorization> authorization)
      : type_(type), properties_(std::move(properties)), authorization_(std::move(authorization)) {}

  const std::string type_;
  JsonInput properties_;
  std::unique_ptr<Authorization> authorization_;
};

/// The members of a throttle group's limits, as Types reads them.
std::string_view throttle_limits_members();

}  // namespace ashlar::monitor
