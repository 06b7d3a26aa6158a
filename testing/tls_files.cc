// Making certificates with OpenSSL.
#include "testing/tls_files.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>

namespace ashlar::testing {
namespace {

template <typename T, void (*release)(T*)>
struct Release {
  void operator()(T* object) const noexcept { release(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Release<X509, X509_free>>;
using Bio = std::unique_ptr<BIO, Release<BIO, BIO_free_all>>;

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(std::string("cannot make ") + what);
}

std::string text_in(const Bio& bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(length)};
}

std::string pem_of(EVP_PKEY* key, const std::string& password = {}) {
  const Bio out(BIO_new(BIO_s_mem()));
  const auto* bytes = reinterpret_cast<const unsigned char*>(password.data());
  const EVP_CIPHER* cipher = password.empty() ? nullptr : EVP_aes_128_cbc();
  require(PEM_write_bio_PrivateKey(out.get(), key, cipher, bytes, static_cast<int>(password.size()),
                                   nullptr, nullptr) == 1,
          "a key file");
  return text_in(out);
}

std::string pem_of(X509* certificate) {
  const Bio out(BIO_new(BIO_s_mem()));
  require(PEM_write_bio_X509(out.get(), certificate) == 1, "a certificate file");
  return text_in(out);
}

Key read_key(const std::string& pem) {
  const Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return Key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
}

Certificate read_certificate(const std::string& pem) {
  const Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return Certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
}

/// Everything but the signature.
Certificate blank(const std::string& common_name, EVP_PKEY* key) {
  Certificate certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 86400);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  const auto add = [name](const char* field, const std::string& value) {
    X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(value.data()),
                               static_cast<int>(value.size()), -1, 0);
  };
  add("C", "GB");
  add("O", "Ashlar");
  add("CN", common_name);
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

void extend(X509* certificate, int which, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, which, value.c_str());
  require(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, value.c_str());
  X509_EXTENSION_free(extension);
}

void write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

}  // namespace

TlsFiles::TlsFiles() {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate = blank("authority", key.get());
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  extend(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  extend(certificate.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  require(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0, "an authority");
  authority_certificate_ = pem_of(certificate.get());
  authority_key_ = pem_of(key.get());
}

std::string TlsFiles::authority_folder(const std::string& name) const {
  std::filesystem::create_directory(root_.path(name));
  write(root_.path(name) + "/ca-cert.pem", authority_certificate_);
  return root_.path(name);
}

std::string TlsFiles::folder(const std::string& name, const Identity& identity) const {
  const std::string path = authority_folder(name);
  const Key key(EVP_EC_gen("P-256"));
  const Key authority_key = read_key(authority_key_);
  const Certificate authority = read_certificate(authority_certificate_);
  const Certificate certificate = blank(identity.common_name, key.get());
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), identity.valid_from_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()),
                  identity.valid_from_s + identity.valid_for_s);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(authority.get()));
  extend(certificate.get(), NID_basic_constraints, "critical,CA:FALSE");
  std::string names;
  for (const std::string& one : identity.names) names += (names.empty() ? "" : ",") + one;
  if (!names.empty()) extend(certificate.get(), NID_subject_alt_name, names);
  const bool server = identity.use == Identity::Use::kServer;
  extend(certificate.get(), NID_ext_key_usage, server ? "serverAuth" : "clientAuth");
  require(X509_sign(certificate.get(), authority_key.get(), EVP_sha256()) > 0, "a certificate");
  const std::string side = server ? "/server-" : "/client-";
  write(path + side + "cert.pem", pem_of(certificate.get()));
  write(path + side + "key.pem", pem_of(key.get()));
  return path;
}

std::string TlsFiles::key_folder(const std::string& name, const std::string& lines) const {
  std::filesystem::create_directory(root_.path(name));
  write(root_.path(name) + "/keys.psk", lines);
  return root_.path(name);
}

void TlsFiles::encrypt_key(const std::string& path, const std::string& password) const {
  std::ifstream file(path);
  const std::string pem{std::istreambuf_iterator<char>(file), {}};
  write(path, pem_of(read_key(pem).get(), password));
}

}  // namespace ashlar::testing
