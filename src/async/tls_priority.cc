// Priority strings, as far as they can be said in OpenSSL's words: a level, then versions.
#include <fmt/format.h>

#include <array>
#include <optional>
#include <set>

#include "async/tls_context.h"

namespace ashlar {
namespace {

/// Strength of keys and ciphers that a level asks for.
struct Level {
  std::string_view name;
  std::string_view ciphers;  // for TLS 1.2, by strength
  std::string_view suites;   // for TLS 1.3
};
constexpr std::string_view kAllSuites =
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
constexpr std::string_view kStrongSuites = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr std::array kLevels{
    Level{"NORMAL", "HIGH", kAllSuites},
    Level{"@SYSTEM", "HIGH", kAllSuites},
    Level{"PERFORMANCE", "HIGH", kAllSuites},
    Level{"PFS", "HIGH:!kRSA:!kPSK", kAllSuites},
    Level{"SECURE128", "HIGH", kAllSuites},
    Level{"SECURE192", "HIGH:!AES128", kStrongSuites},
    Level{"SECURE256", "HIGH:!AES128", kStrongSuites},
};

const Level* find_level(std::string_view name) {
  for (const Level& level : kLevels) {
    if (level.name == name) return &level;
  }
  return nullptr;
}

Error not_understood(std::string_view token) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("TLS priority: \"{}\" is not understood, only a level such as NORMAL or "
                           "SECURE256 and versions such as -VERS-TLS1.3 are",
                           token))
      .because("tls-priority", {std::string(token)});
}

/// The versions that `name` means; those that are never allowed count as none. Empty: not known.
std::optional<std::set<int>> versions_of(std::string_view name) {
  if (name == "VERS-ALL" || name == "VERS-TLS-ALL") return std::set{TLS1_2_VERSION, TLS1_3_VERSION};
  if (name == "VERS-TLS1.2") return std::set{TLS1_2_VERSION};
  if (name == "VERS-TLS1.3") return std::set{TLS1_3_VERSION};
  const bool too_old = name == "VERS-TLS1.0" || name == "VERS-TLS1.1" || name == "VERS-SSL3.0";
  return too_old ? std::optional(std::set<int>()) : std::nullopt;
}

/// Applies one token such as "-VERS-TLS1.3" to the allowed versions. False: not understood.
bool change_versions(std::string_view token, std::set<int>& allowed) {
  if (token.size() < 2 || std::string_view("+-!").find(token[0]) == std::string_view::npos) {
    return false;
  }
  const std::optional<std::set<int>> meant = versions_of(token.substr(1));
  if (!meant || (token[0] == '+' && meant->empty())) return false;
  for (const int version : *meant) {
    if (token[0] == '+') {
      allowed.insert(version);
    } else {
      allowed.erase(version);
    }
  }
  return true;
}

/// Which kinds of proof the credentials can give.
std::string key_exchanges(TlsSettings::Kind kind) {
  switch (kind) {
    case TlsSettings::Kind::kX509:
      return ":!aNULL:!aPSK:!SRP";
    case TlsSettings::Kind::kPsk:
      return ":!aNULL:!aRSA:!aECDSA:!aDSS:!SRP";
    case TlsSettings::Kind::kAnonymous:
      // OpenSSL counts them as weak however strong their ciphers are.
      return ":aNULL:!aRSA:!aECDSA:!aDSS:!aPSK:!SRP:@SECLEVEL=0";
  }
  return {};
}

}  // namespace

Result<void> apply_tls_priority(SSL_CTX* context, const TlsSettings& settings) {
  std::string_view left = settings.priority;
  if (left.empty()) left = kLevels[0].name;
  const std::string_view first = left.substr(0, left.find(':'));
  const Level* level = find_level(first);
  if (level == nullptr) return fail(not_understood(first));
  left.remove_prefix(std::min(left.size(), first.size() + 1));
  std::set<int> versions{TLS1_2_VERSION, TLS1_3_VERSION};
  while (!left.empty()) {
    const std::string_view token = left.substr(0, left.find(':'));
    left.remove_prefix(std::min(left.size(), token.size() + 1));
    if (!change_versions(token, versions)) return fail(not_understood(token));
  }
  // Without certificates and shared keys only TLS 1.2 has a handshake.
  if (settings.kind == TlsSettings::Kind::kAnonymous) versions.erase(TLS1_3_VERSION);
  if (versions.empty()) return fail(not_understood(settings.priority));
  const std::string ciphers = std::string(level->ciphers) + key_exchanges(settings.kind);
  const bool applied = SSL_CTX_set_min_proto_version(context, *versions.begin()) == 1 &&
                       SSL_CTX_set_max_proto_version(context, *versions.rbegin()) == 1 &&
                       SSL_CTX_set_cipher_list(context, ciphers.c_str()) == 1 &&
                       SSL_CTX_set_ciphersuites(context, std::string(level->suites).c_str()) == 1;
  if (!applied) return fail(not_understood(settings.priority).within(take_tls_error()));
  return ok();
}

}  // namespace ashlar
