// What --object creates: secrets, that is passwords and keys, TLS credentials, authorizations,
// throttle groups.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ashlar/credentials.h"
#include "ashlar/error.h"
#include "ashlar/options.h"
#include "async/authorization.h"
#include "tools/common/throttle_groups.h"

namespace ashlar::tools {

/// The user's objects: secrets, whose contents are wiped at the end, TLS credentials,
/// authorizations, and throttle groups.
class Objects final : public CredentialStore {
 public:
  Objects() = default;
  Objects(Objects&&) = default;
  Objects& operator=(Objects&&) = default;
  ~Objects() override;

  /// Creates what `--object text` describes: `secret,id=ID,data=TEXT` or `file=NAME`, with
  /// format=raw|base64; or the same as a JSON object. Secrets may be encrypted with another one
  /// (keyid= and iv=, AES-256-CBC). Or `tls-creds-x509,id=ID,dir=FOLDER,...` and its kin, or
  /// `authz-list,id=ID,policy=deny,rules.0.match=NAME,rules.0.policy=allow` and its kin, or
  /// `throttle-group,id=ID,LIMITS`. Errors carry the whole text for the user.
  Result<void> add(std::string_view text);

  /// The bytes of a secret; null when there is none.
  const std::string* find_secret(std::string_view id) const;

  Result<std::string> secret(std::string_view id) const override;
  Result<std::shared_ptr<const TlsCredentials>> tls_credentials(std::string_view id) const override;
  /// Whether the authorization `id` lets `name` in. Nobody is let in without that object.
  bool permits(std::string_view id, std::string_view name) const;
  std::shared_ptr<const ThrottleGroupStore> throttle_groups() const { return throttle_groups_; }

 private:
  Result<void> add_secret(OptionDict options);
  Result<void> add_throttle_group(OptionDict options);
  Result<void> add_authorization(const std::string& type, OptionDict options);
  Result<void> add_tls(const std::string& type, OptionDict options);
  static Result<void> check_id(const std::optional<std::string>& id);
  Result<void> check_unused(const std::string& id) const;
  Result<std::string> decrypt(OptionDict& options, std::string_view key_id,
                              std::string_view data) const;

  std::map<std::string, std::string, std::less<>> secrets_;
  std::map<std::string, std::shared_ptr<const TlsCredentials>, std::less<>> tls_;
  std::map<std::string, std::unique_ptr<Authorization>, std::less<>> authorizations_;
  std::shared_ptr<ThrottleGroups> throttle_groups_ = std::make_shared<ThrottleGroups>();
};

/// What `--object help` or `--object TYPE,help` prints; empty when `text` asks for neither.
std::optional<std::string> object_help(std::string_view text);

}  // namespace ashlar::tools
