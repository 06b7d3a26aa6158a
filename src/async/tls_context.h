// What TLS credentials hold of OpenSSL's, and helpers for its objects.
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <map>
#include <memory>
#include <string>

#include "async/tls.h"

namespace ashlar {

/// A key of keys.psk.
using TlsKeys = std::map<std::string, std::string, std::less<>>;

template <typename T, void (*release)(T*)>
struct TlsRelease {
  void operator()(T* object) const noexcept { release(object); }
};
using TlsContext = std::unique_ptr<SSL_CTX, TlsRelease<SSL_CTX, SSL_CTX_free>>;
using TlsCertificate = std::unique_ptr<X509, TlsRelease<X509, X509_free>>;

struct TlsCredentials::Loaded {
  TlsContext context;
  TlsKeys keys;          ///< psk
  std::string username;  ///< psk, client
};

/// The words of OpenSSL's oldest error, and forgets all of them. Empty when there is none.
std::string take_tls_error();

/// `NAME=value,...`, the most specific part first.
std::string distinguished_name(X509* certificate);

/// Restricts `context` to what a priority string allows.
/// Errors: kInvalidArgument (reason "tls-priority" {token}) for what is not understood.
Result<void> apply_tls_priority(SSL_CTX* context, const TlsSettings& settings);

/// Finds what would make every handshake fail: certificates out of date, not signed by the
/// authority, or made for something else.
/// Errors: kInvalidArgument (reason "tls-certificate" {path}).
Result<void> check_tls_certificates(SSL_CTX* context, const TlsSettings& settings);

/// `directory`/`name`.
std::string tls_file(const TlsSettings& settings, std::string_view name);

}  // namespace ashlar
