// Base64, by OpenSSL.
#include "monitor/base64.h"

#include <openssl/evp.h>

#include "monitor/errors.h"

namespace ashlar::monitor {

Result<std::string> decode_base64(std::string_view text) {
  const auto invalid = [] { return refuse("Base64 data contains invalid characters"); };
  std::string symbols;
  for (const char c : text) {
    if (c != '\n' && c != '\r' && c != ' ' && c != '\t') symbols += c;
  }
  const size_t letters = symbols.find_last_not_of('=') + 1;  // npos + 1 is 0
  const size_t padding = (4 - letters % 4) % 4;
  if (padding == 3) return invalid();
  symbols.resize(letters);
  if (symbols.find('=') != symbols.npos) return invalid();
  symbols.append(padding, '=');
  std::string bytes(symbols.size() / 4 * 3, '\0');
  const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                     reinterpret_cast<const unsigned char*>(symbols.data()),
                                     static_cast<int>(symbols.size()));
  if (length < 0) return invalid();
  bytes.resize(static_cast<size_t>(length) - padding);
  return bytes;
}

std::string encode_base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL adds a zero byte
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(length));
  return text;
}

}  // namespace ashlar::monitor
