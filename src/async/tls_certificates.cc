// Looking at certificates: names, and mistakes that are better told before the first handshake.
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <vector>

#include "async/tls_context.h"

namespace ashlar {
namespace {

using Bio = std::unique_ptr<BIO, TlsRelease<BIO, BIO_free_all>>;

Error mistake(const std::string& path, std::string_view what) {
  return Error(ErrorCode::kInvalidArgument, fmt::format("certificate \"{}\" {}", path, what))
      .because("tls-certificate", {path});
}

std::vector<TlsCertificate> certificates_in(const std::string& path) {
  std::vector<TlsCertificate> all;
  const Bio file(BIO_new_file(path.c_str(), "r"));
  while (file) {
    TlsCertificate one(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr));
    if (!one) break;
    all.push_back(std::move(one));
  }
  ERR_clear_error();  // the end of the file is one
  return all;
}

Result<void> check_time(X509* certificate, const std::string& path) {
  if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
    return fail(mistake(path, "is not valid yet"));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
    return fail(mistake(path, "has expired"));
  }
  return ok();
}

Result<void> check_signature(SSL_CTX* context, X509* certificate, const std::string& path) {
  const std::unique_ptr<X509_STORE_CTX, TlsRelease<X509_STORE_CTX, X509_STORE_CTX_free>> check(
      X509_STORE_CTX_new());
  STACK_OF(X509)* chain = nullptr;
  // NOLINTNEXTLINE(bugprone-multi-level-implicit-pointer-conversion): OpenSSL's macro
  SSL_CTX_get0_chain_certs(context, &chain);
  const bool ready = check && X509_STORE_CTX_init(check.get(), SSL_CTX_get_cert_store(context),
                                                  certificate, chain) == 1;
  if (!ready) return fail(mistake(path, "cannot be checked"));
  if (X509_verify_cert(check.get()) == 1) return ok();
  const int why = X509_STORE_CTX_get_error(check.get());
  ERR_clear_error();
  return fail(mistake(path, fmt::format("is not valid: {}", X509_verify_cert_error_string(why))));
}

}  // namespace

std::string distinguished_name(X509* certificate) {
  const Bio text(BIO_new(BIO_s_mem()));
  if (!text) return {};
  // RFC 2253, but in the order of the certificate, which is what rules are written for, and with
  // letters beyond ASCII as they are.
  constexpr unsigned long kLeftOut = XN_FLAG_DN_REV | ASN1_STRFLGS_ESC_MSB;
  const unsigned long style = XN_FLAG_RFC2253 & ~kLeftOut;
  X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate), 0, style);
  char* data = nullptr;
  const long length = BIO_get_mem_data(text.get(), &data);
  return length <= 0 ? std::string() : std::string(data, static_cast<size_t>(length));
}

Result<void> check_tls_certificates(SSL_CTX* context, const TlsSettings& settings) {
  const std::string authority = tls_file(settings, "ca-cert.pem");
  for (const TlsCertificate& certificate : certificates_in(authority)) {
    if (Result<void> valid = check_time(certificate.get(), authority); !valid) return valid;
    if (X509_check_ca(certificate.get()) == 0) {
      return fail(mistake(authority, "is none of an authority: its basic constraints say so"));
    }
  }
  X509* own = SSL_CTX_get0_certificate(context);
  if (own == nullptr) return ok();
  const bool server = settings.endpoint == TlsSettings::Endpoint::kServer;
  const std::string path = tls_file(settings, server ? "server-cert.pem" : "client-cert.pem");
  if (Result<void> valid = check_time(own, path); !valid) return valid;
  if (X509_check_ca(own) == 1 && (X509_get_extension_flags(own) & EXFLAG_BCONS) != 0) {
    return fail(mistake(path, "is one of an authority, none of a server or client"));
  }
  const int purpose = server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT;
  if (X509_check_purpose(own, purpose, 0) != 1) {
    return fail(mistake(path, fmt::format("may not be used by a {}: its key usage says so",
                                          server ? "server" : "client")));
  }
  return check_signature(context, own, path);
}

}  // namespace ashlar
