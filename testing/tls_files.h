// Folders with certificates and keys for tests of TLS, made by OpenSSL on the spot.
#pragma once

#include <string>
#include <vector>

#include "testing/temporary_folder.h"

namespace ashlar::testing {

/// An authority, and what it signs.
class TlsFiles {
 public:
  TlsFiles();

  /// What the certificate of one side says.
  struct Identity {
    std::string common_name = "localhost";
    std::vector<std::string> names = {"DNS:localhost", "IP:127.0.0.1"};
    long valid_from_s = -3600;  ///< from now
    long valid_for_s = 86400;
    enum class Use { kServer, kClient } use = Use::kServer;
  };

  /// Writes ca-cert.pem and the pair of one side into a folder of its own, and returns it.
  std::string folder(const std::string& name, const Identity& identity) const;
  /// Only ca-cert.pem.
  std::string authority_folder(const std::string& name) const;
  /// Only keys.psk.
  std::string key_folder(const std::string& name, const std::string& lines) const;
  /// An unencrypted key replaced by an encrypted one.
  void encrypt_key(const std::string& path, const std::string& password) const;
  const TemporaryFolder& root() const { return root_; }

 private:
  TemporaryFolder root_;
  std::string authority_certificate_;  // PEM
  std::string authority_key_;
};

}  // namespace ashlar::testing
