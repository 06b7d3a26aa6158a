// What --object creates: secrets, that is passwords and keys by id.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "ashlar/error.h"
#include "ashlar/options.h"

namespace ashlar::tools {

/// The user's objects. Only secrets exist; their contents are wiped at the end.
class Objects {
 public:
  Objects() = default;
  Objects(Objects&&) = default;
  Objects& operator=(Objects&&) = default;
  ~Objects();

  /// Creates what `--object text` describes: `secret,id=ID,data=TEXT` or `file=NAME`, with
  /// format=raw|base64; or the same as a JSON object. What is encrypted with another secret (keyid=
  /// and iv=) is checked and then refused.
  /// Errors carry the whole text for the user.
  Result<void> add(std::string_view text);

  /// The bytes of a secret; null when there is none.
  const std::string* secret(std::string_view id) const;

 private:
  Result<void> add_secret(OptionDict options);
  Result<void> check_encrypted(OptionDict& options, std::string_view key_id,
                               std::string_view data) const;

  std::map<std::string, std::string, std::less<>> secrets_;
};

/// What `--object help` or `--object TYPE,help` prints; empty when `text` asks for neither.
std::optional<std::string> object_help(std::string_view text);

}  // namespace ashlar::tools
