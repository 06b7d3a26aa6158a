// The members of TLS objects.
#include <fmt/format.h>

#include <array>

#include "async/tls.h"

namespace ashlar {
namespace {

constexpr std::array<std::string_view, 2> kEndpoints{"client", "server"};

/// Members of all types.
struct CommonMembers {
  std::optional<std::string> dir;
  std::string endpoint = "client";
  bool verify_peer = true;
  std::optional<std::string> priority;
  static constexpr auto table() {
    return std::array{
        option("dir", &CommonMembers::dir, "folder of the files"),
        choice_option("endpoint", &CommonMembers::endpoint, kEndpoints, "which side this is",
                      "client"),
        option("verify-peer", &CommonMembers::verify_peer, "refuse peers that prove nothing", "on"),
        option("priority", &CommonMembers::priority, "allowed versions and ciphers", "NORMAL"),
    };
  }
};

struct X509Members {
  bool sanity_check = true;
  std::optional<std::string> passwordid;
  static constexpr auto table() {
    return std::array{
        option("sanity-check", &X509Members::sanity_check, "look for mistakes in certificates",
               "on"),
        option("passwordid", &X509Members::passwordid, "secret that decrypts the key"),
    };
  }
};

struct PskMembers {
  std::optional<std::string> username;
  static constexpr auto table() {
    return std::array{
        option("username", &PskMembers::username, "whose key of keys.psk", "qemu"),
    };
  }
};

std::optional<TlsSettings::Kind> kind_of(std::string_view type) {
  if (type == "tls-creds-x509") return TlsSettings::Kind::kX509;
  if (type == "tls-creds-psk") return TlsSettings::Kind::kPsk;
  if (type == "tls-creds-anon") return TlsSettings::Kind::kAnonymous;
  return std::nullopt;
}

Result<void> take_special(TlsSettings& settings, OptionDict& members) {
  if (settings.kind == TlsSettings::Kind::kX509) {
    Result<X509Members> own = take_options<X509Members>(members);
    if (!own) return fail(own.error());
    settings.sanity_check = own->sanity_check;
    settings.password_id = own->passwordid;
  } else if (settings.kind == TlsSettings::Kind::kPsk) {
    Result<PskMembers> own = take_options<PskMembers>(members);
    if (!own) return fail(own.error());
    settings.username = own->username.value_or(settings.username);
  }
  return ok();
}

}  // namespace

Result<TlsSettings> TlsSettings::take(std::string_view type, OptionDict& members) {
  const std::optional<Kind> kind = kind_of(type);
  if (!kind) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("TLS credentials are of type tls-creds-x509, tls-creds-psk or "
                                  "tls-creds-anon, not \"{}\"",
                                  type))
                    .because("tls-type", {std::string(type)}));
  }
  Result<CommonMembers> common = take_options<CommonMembers>(members);
  if (!common) return fail(common.error());
  TlsSettings settings;
  settings.kind = *kind;
  settings.endpoint = common->endpoint == "server" ? Endpoint::kServer : Endpoint::kClient;
  settings.directory = common->dir.value_or("");
  settings.verify_peer = common->verify_peer;
  settings.priority = common->priority.value_or("");
  if (settings.directory.empty() && settings.kind != Kind::kAnonymous) {
    return fail(Error(ErrorCode::kInvalidArgument, "TLS credentials need \"dir\"")
                    .because("tls-dir-missing"));
  }
  Result<void> special = take_special(settings, members);
  if (!special) return fail(special.error());
  return settings;
}

std::vector<OptionDescription> TlsSettings::describe(std::string_view type) {
  const std::optional<Kind> kind = kind_of(type);
  std::vector<OptionDescription> rows;
  if (!kind) return rows;
  rows = describe_options<CommonMembers>();
  const std::vector<OptionDescription> own = *kind == Kind::kX509  ? describe_options<X509Members>()
                                             : *kind == Kind::kPsk ? describe_options<PskMembers>()
                                                                   : rows;
  if (*kind != Kind::kAnonymous) rows.insert(rows.end(), own.begin(), own.end());
  return rows;
}

}  // namespace ashlar
