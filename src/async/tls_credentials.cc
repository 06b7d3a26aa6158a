// Loading TLS credentials from the files of a folder.
#include <errno.h>
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <sstream>

#include "async/tls_context.h"

namespace ashlar {
namespace {

using Endpoint = TlsSettings::Endpoint;
using Kind = TlsSettings::Kind;
using Bio = std::unique_ptr<BIO, TlsRelease<BIO, BIO_free_all>>;

constexpr size_t kMaxKeyFile = 1 << 20;

enum class Need : uint8_t { kRequired, kOptional };

/// Whether `path` is there to be read; who needs it is told why it is not.
Result<bool> readable(const std::string& path, Need need) {
  if (access(path.c_str(), R_OK) == 0) return true;
  if (need == Need::kOptional && errno == ENOENT) return false;
  return fail(Error::from_errno(errno, fmt::format("open \"{}\" for TLS", path))
                  .because("tls-file", {path}));
}

Error bad_file(const std::string& path, std::string_view what) {
  const std::string why = take_tls_error();
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("\"{}\" is no {}{}{}", path, what, why.empty() ? "" : ": ", why))
      .because("tls-certificate", {path});
}

Result<void> load_authority(SSL_CTX* context, const TlsSettings& settings) {
  const std::string path = tls_file(settings, "ca-cert.pem");
  Result<bool> there = readable(path, Need::kRequired);
  if (!there) return fail(there.error());
  if (SSL_CTX_load_verify_file(context, path.c_str()) != 1) {
    return fail(bad_file(path, "certificate of an authority"));
  }
  // Who is told which authorities count can choose the right certificate.
  if (settings.endpoint == Endpoint::kServer) {
    SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(path.c_str()));
  }
  // The file says whom to trust, be it the authority of another one or not.
  X509_STORE_set_flags(SSL_CTX_get_cert_store(context), X509_V_FLAG_PARTIAL_CHAIN);
  return ok();
}

Result<void> load_revocations(SSL_CTX* context, const TlsSettings& settings) {
  const std::string path = tls_file(settings, "ca-crl.pem");
  Result<bool> there = readable(path, Need::kOptional);
  if (!there || !*there) return there ? ok() : fail(there.error());
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
  if (lookup == nullptr || X509_load_crl_file(lookup, path.c_str(), X509_FILETYPE_PEM) < 1) {
    return fail(bad_file(path, "list of revoked certificates"));
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  return ok();
}

Result<void> load_own_certificate(SSL_CTX* context, const TlsSettings& settings) {
  const bool server = settings.endpoint == Endpoint::kServer;
  const Need need = server ? Need::kRequired : Need::kOptional;
  const std::string certificate =
      tls_file(settings, server ? "server-cert.pem" : "client-cert.pem");
  const std::string key = tls_file(settings, server ? "server-key.pem" : "client-key.pem");
  Result<bool> has_certificate = readable(certificate, need);
  if (!has_certificate) return fail(has_certificate.error());
  Result<bool> has_key = readable(key, *has_certificate ? Need::kRequired : Need::kOptional);
  if (!has_key) return fail(has_key.error());
  if (!*has_certificate && !*has_key) return ok();
  if (!*has_certificate) return fail(readable(certificate, Need::kRequired).error());
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    return fail(bad_file(certificate, "certificate"));
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return fail(bad_file(key, "private key that belongs to the certificate and can be read"));
  }
  return ok();
}

/// Parameters of the old key exchange; OpenSSL's own where there are none.
Result<void> load_parameters(SSL_CTX* context, const TlsSettings& settings) {
  if (settings.endpoint != Endpoint::kServer) return ok();
  const std::string path = tls_file(settings, "dh-params.pem");
  const bool no_folder = settings.directory.empty();
  Result<bool> there = no_folder ? Result<bool>(false) : readable(path, Need::kOptional);
  if (!there) return fail(there.error());
  if (!*there) {
    SSL_CTX_set_dh_auto(context, 1);
    return ok();
  }
  const Bio file(BIO_new_file(path.c_str(), "r"));
  EVP_PKEY* parameters = file ? PEM_read_bio_Parameters(file.get(), nullptr) : nullptr;
  if (parameters == nullptr || SSL_CTX_set0_tmp_dh_pkey(context, parameters) != 1) {
    EVP_PKEY_free(parameters);
    return fail(bad_file(path, "file of Diffie-Hellman parameters"));
  }
  return ok();
}

Result<void> load_x509(SSL_CTX* context, const TlsSettings& settings) {
  Result<void> loaded = load_authority(context, settings);
  if (loaded) loaded = load_revocations(context, settings);
  if (loaded) loaded = load_own_certificate(context, settings);
  if (loaded) loaded = load_parameters(context, settings);
  if (loaded && settings.sanity_check) loaded = check_tls_certificates(context, settings);
  if (!loaded) return loaded;
  const bool server = settings.endpoint == Endpoint::kServer;
  const int demand = SSL_VERIFY_PEER | (server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
  SSL_CTX_set_verify(context, settings.verify_peer ? demand : SSL_VERIFY_NONE, nullptr);
  return ok();
}

/// Bytes from hexadecimal digits; empty when they are none.
std::string from_hex(std::string_view digits) {
  std::string bytes;
  for (size_t at = 0; at + 1 < digits.size(); at += 2) {
    unsigned value = 0;
    const char* end = digits.data() + at + 2;
    const auto read = std::from_chars(digits.data() + at, end, value, 16);
    if (read.ec != std::errc() || read.ptr != end) return {};
    bytes.push_back(static_cast<char>(value));
  }
  return digits.size() % 2 == 0 ? bytes : std::string();
}

Result<TlsKeys> load_keys(const TlsSettings& settings) {
  const std::string path = tls_file(settings, settings.key_file);
  Result<bool> there = readable(path, Need::kRequired);
  if (!there) return fail(there.error());
  std::ifstream file(path);
  TlsKeys keys;
  size_t bytes = 0;
  for (std::string line; bytes < kMaxKeyFile && std::getline(file, line);) {
    bytes += line.size() + 1;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    const size_t colon = line.find(':');
    std::string key = colon == line.npos ? std::string() : from_hex(line.substr(colon + 1));
    if (key.empty() || colon == 0 || key.size() > PSK_MAX_PSK_LEN || colon > PSK_MAX_IDENTITY_LEN) {
      return fail(bad_file(path, "list of lines \"username:key in hex\""));
    }
    keys[line.substr(0, colon)] = std::move(key);
  }
  const bool client = settings.endpoint == Endpoint::kClient;
  if (client && !keys.contains(settings.username)) {
    return fail(Error(ErrorCode::kNotFound,
                      fmt::format("\"{}\" has no key of user \"{}\"", path, settings.username))
                    .because("tls-user", {settings.username}));
  }
  return keys;
}

const TlsCredentials::Loaded* loaded_of(SSL* session) {
  return static_cast<const TlsCredentials::Loaded*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(session)));
}

unsigned give_key(const TlsCredentials::Loaded* loaded, std::string_view user, unsigned char* to,
                  unsigned room) {
  const auto found = loaded->keys.find(user);
  if (found == loaded->keys.end() || found->second.size() > room) return 0;
  std::ranges::copy(found->second, to);
  return static_cast<unsigned>(found->second.size());
}

/// Notes who it is where the session's owner looks (TLS 1.3 does not keep the name).
unsigned server_key(SSL* session, const char* identity, unsigned char* key, unsigned room) {
  if (identity == nullptr) return 0;
  if (auto* user = static_cast<std::string*>(SSL_get_app_data(session))) *user = identity;
  return give_key(loaded_of(session), identity, key, room);
}

Result<void> load_psk(TlsCredentials::Loaded& loaded, const TlsSettings& settings) {
  Result<TlsKeys> keys = load_keys(settings);
  if (!keys) return fail(keys.error());
  loaded.keys = std::move(*keys);
  loaded.username = settings.username;
  SSL_CTX* context = loaded.context.get();
  SSL_CTX_set_app_data(context, &loaded);
  if (settings.endpoint == Endpoint::kServer) {
    SSL_CTX_set_psk_server_callback(context, server_key);
  } else {
    SSL_CTX_set_psk_client_callback(
        context,
        [](SSL* session, const char*, char* identity, unsigned identity_room, unsigned char* key,
           unsigned key_room) -> unsigned {
          const TlsCredentials::Loaded* own = loaded_of(session);
          if (own->username.size() + 1 > identity_room) return 0;
          identity[own->username.copy(identity, own->username.size())] = '\0';
          return give_key(own, own->username, key, key_room);
        });
  }
  return load_parameters(context, settings);
}

/// Gives OpenSSL the password of the key, or none: by itself it would ask at the terminal.
int give_password(char* to, int room, int, void* password) {
  const auto* text = static_cast<const std::string*>(password);
  if (text == nullptr || text->size() > static_cast<size_t>(room)) return -1;
  return static_cast<int>(text->copy(to, text->size()));
}

}  // namespace

std::string take_tls_error() {
  const unsigned long number = ERR_get_error();
  ERR_clear_error();
  const char* words = number == 0 ? nullptr : ERR_reason_error_string(number);
  return words == nullptr ? std::string() : words;
}

std::string tls_file(const TlsSettings& settings, std::string_view name) {
  return fmt::format("{}/{}", settings.directory, name);
}

TlsCredentials::TlsCredentials(const TlsSettings& settings, std::unique_ptr<Loaded> loaded)
    : settings_(settings), loaded_(std::move(loaded)) {}

TlsCredentials::~TlsCredentials() {
  for (auto& [user, key] : loaded_->keys) OPENSSL_cleanse(key.data(), key.size());
}

Result<std::shared_ptr<const TlsCredentials>> TlsCredentials::load(
    const TlsSettings& settings, std::optional<std::string> password) {
  ERR_clear_error();
  auto loaded = std::make_unique<Loaded>();
  const bool server = settings.endpoint == Endpoint::kServer;
  loaded->context.reset(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  SSL_CTX* context = loaded->context.get();
  if (context == nullptr) return fail(ErrorCode::kNoMemory, "no memory for TLS");
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_num_tickets(context, 0);  // nobody resumes a session
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_default_passwd_cb(context, give_password);
  SSL_CTX_set_default_passwd_cb_userdata(context, password ? &*password : nullptr);
  Result<void> done = apply_tls_priority(context, settings);
  if (done && settings.kind == Kind::kX509) done = load_x509(context, settings);
  if (done && settings.kind == Kind::kPsk) done = load_psk(*loaded, settings);
  if (done && settings.kind == Kind::kAnonymous) done = load_parameters(context, settings);
  SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  if (!done) return fail(done.error());
  return std::shared_ptr<const TlsCredentials>(new TlsCredentials(settings, std::move(loaded)));
}

}  // namespace ashlar
