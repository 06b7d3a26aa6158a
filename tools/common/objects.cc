// Reading of --object: secrets in plain text, in base64, in files, or encrypted with another
// secret; TLS credentials; authorizations; throttle groups.
#include "tools/common/objects.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "async/tls.h"

namespace ashlar::tools {
namespace {

constexpr size_t kMaxSecret = 1 << 20;
constexpr size_t kKeySize = 32;  // AES-256
constexpr size_t kBlockSize = 16;

std::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

bool is_identifier(std::string_view id) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (id.empty() || !is_letter(id[0])) return false;
  for (const char c : id) {
    if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_') return false;
  }
  return true;
}

Result<std::string> read_file(const std::string& name) {
  const int descriptor = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  const auto failed = [&name](int error) {
    return invalid(fmt::format("Unable to read {}: Failed to open file “{}”: {}", name, name,
                               std::strerror(error)));
  };
  if (descriptor < 0) return failed(errno);
  std::string bytes;
  std::array<char, 4096> part;
  ssize_t count = 0;
  while (bytes.size() <= kMaxSecret && (count = ::read(descriptor, part.data(), part.size())) > 0) {
    bytes.append(part.data(), static_cast<size_t>(count));
  }
  const int error = errno;
  ::close(descriptor);
  ::explicit_bzero(part.data(), part.size());
  if (count < 0) return failed(error);
  if (bytes.size() > kMaxSecret) return failed(EFBIG);
  return bytes;
}

uint32_t base64_value(char symbol) {
  constexpr std::string_view kSymbols =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return static_cast<uint32_t>(kSymbols.find(symbol));
}

Result<std::string> decode_base64(std::string_view text) {
  std::string symbols;
  for (const char c : text) {
    const bool blank = c == '\n' || c == '\r' || c == ' ' || c == '\t';
    if (!blank) symbols += c;
  }
  const size_t letters = symbols.find_last_not_of('=') + 1;  // npos + 1 is 0
  const auto is_symbol = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
  };
  for (size_t at = 0; at < letters; ++at) {
    if (!is_symbol(symbols[at])) return invalid("Base64 data contains invalid characters");
  }
  if (letters % 4 == 1) return invalid("Base64 data contains invalid characters");
  std::string bytes;
  uint32_t bits = 0;
  for (size_t at = 0; at < letters; ++at) {
    bits = bits << 6 | base64_value(symbols[at]);
    const unsigned held = static_cast<unsigned>(at % 4) * 6 + 6;  // bits of this group of four
    if (held >= 8) bytes += static_cast<char>(bits >> (held % 8) & 0xFF);
  }
  return bytes;
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

/// AES-256 in CBC mode, with the padding of PKCS 7. Sizes have been checked.
Result<std::string> decrypt_cbc(std::string_view key, std::string_view vector,
                                std::string_view data) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  std::string plain(data.size() + kBlockSize, '\0');
  auto* const out = reinterpret_cast<unsigned char*>(plain.data());
  int length = 0;
  int rest = 0;
  const bool done = context != nullptr &&
                    EVP_DecryptInit_ex(context.get(), EVP_aes_256_cbc(), nullptr, bytes_of(key),
                                       bytes_of(vector)) == 1 &&
                    EVP_DecryptUpdate(context.get(), out, &length, bytes_of(data),
                                      static_cast<int>(data.size())) == 1 &&
                    EVP_DecryptFinal_ex(context.get(), out + length, &rest) == 1;
  if (!done) {
    return invalid(
        "Incorrect number of padding bytes found on decrypted data: is it the right key?");
  }
  plain.resize(static_cast<size_t>(length) + static_cast<size_t>(rest));
  return plain;
}

Result<OptionDict> parse_object(std::string_view text) {
  return text.starts_with('{') ? OptionDict::parse_json(text)
                               : OptionDict::parse_key_value(text, "qom-type");
}

/// Takes a text that JSON must give as a string.
Result<std::optional<std::string>> take_string(OptionDict& options, std::string_view name) {
  const OptionValue* value = options.find(name);
  if (value != nullptr && !std::holds_alternative<std::string>(*value)) {
    return invalid(fmt::format("Invalid parameter type for '{}', expected: string", name));
  }
  return options.take_text(name);
}

}  // namespace

Objects::~Objects() {
  for (auto& [id, bytes] : secrets_) ::explicit_bzero(bytes.data(), bytes.size());
}

const std::string* Objects::find_secret(std::string_view id) const {
  const auto found = secrets_.find(id);
  return found == secrets_.end() ? nullptr : &found->second;
}

Result<std::string> Objects::secret(std::string_view id) const {
  const std::string* found = find_secret(id);
  if (found == nullptr) return fail(secret_not_found(id));
  return *found;
}

Result<std::shared_ptr<const TlsCredentials>> Objects::tls_credentials(std::string_view id) const {
  const auto found = tls_.find(id);
  if (found != tls_.end()) return found->second;
  if (find_secret(id) == nullptr) return fail(tls_credentials_not_found(id));
  return fail(Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is a secret", id))
                  .because("tls-type", {std::string(id)}));
}

Result<void> Objects::add(std::string_view text) {
  Result<OptionDict> options = parse_object(text);
  if (!options) return fail(options.error());
  const std::optional<std::string> type = options->take_text("qom-type");
  if (!type) return invalid("Parameter 'qom-type' is missing");
  if (!TlsSettings::describe(*type).empty()) return add_tls(*type, std::move(*options));
  if (Authorization::is_type(*type)) return add_authorization(*type, std::move(*options));
  if (*type == "throttle-group") return add_throttle_group(std::move(*options));
  if (*type != "secret") {
    return invalid(fmt::format("Parameter 'qom-type' does not accept value '{}'", *type));
  }
  return add_secret(std::move(*options));
}

Result<void> Objects::add_secret(OptionDict options) {
  std::array<std::optional<std::string>, 5> texts;
  static constexpr std::array<std::string_view, 5> kNames{"id", "data", "file", "format", "keyid"};
  for (size_t at = 0; at < texts.size(); ++at) {
    auto taken = take_string(options, kNames[at]);
    if (!taken) return fail(taken.error());
    texts[at] = std::move(*taken);
  }
  auto& [id, data, file, format, key_id] = texts;
  if (Result<void> right = check_id(id); !right) return right;
  const bool base64 = format == "base64";
  if (format && !base64 && *format != "raw") {
    return invalid(fmt::format("Parameter 'format' does not accept value '{}'", *format));
  }
  if (data && file) return invalid("'file' and 'data' are mutually exclusive");
  if (!data && !file) return invalid("Either 'file' or 'data' must be provided");
  for (const auto& [name, value] : options.entries()) {
    if (name != "iv") return invalid(fmt::format("Parameter '{}' is unexpected", name));
  }
  Result<std::string> bytes = file ? read_file(*file) : Result<std::string>(std::move(*data));
  // What is encrypted is bytes: they come in base64 or as they are, and `format` says which.
  if (bytes && base64) bytes = decode_base64(*bytes);
  if (bytes && key_id) {
    bytes = decrypt(options, *key_id, *bytes);
  }
  if (!bytes) return fail(bytes.error());
  if (Result<void> unused = check_unused(*id); !unused) return unused;
  secrets_.emplace(std::move(*id), std::move(*bytes));
  return ok();
}

Result<void> Objects::add_throttle_group(OptionDict options) {
  const std::optional<std::string> id = options.take_text("id");
  if (Result<void> right = check_id(id); !right) return right;
  if (Result<void> unused = check_unused(*id); !unused) return unused;
  return throttle_groups_->add(*id, std::move(options));
}

Result<void> Objects::add_authorization(const std::string& type, OptionDict options) {
  const std::optional<std::string> id = options.take_text("id");
  if (Result<void> right = check_id(id); !right) return right;
  Result<std::unique_ptr<Authorization>> made = Authorization::make(type, std::move(options));
  if (!made) return fail(made.error());
  if (Result<void> unused = check_unused(*id); !unused) return unused;
  authorizations_.emplace(*id, std::move(*made));
  return ok();
}

bool Objects::permits(std::string_view id, std::string_view name) const {
  const auto found = authorizations_.find(id);
  return found != authorizations_.end() && !name.empty() && found->second->allows(name);
}

Result<void> Objects::add_tls(const std::string& type, OptionDict options) {
  const std::optional<std::string> id = options.take_text("id");
  if (Result<void> right = check_id(id); !right) return right;
  Result<TlsSettings> settings = TlsSettings::take(type, options);
  if (!settings) return fail(settings.error());
  if (!options.empty()) {
    return invalid(fmt::format("Parameter '{}' is unexpected", options.entries().front().first));
  }
  std::optional<std::string> password;
  if (settings->password_id) {
    Result<std::string> found = secret(*settings->password_id);
    if (!found) return fail(found.error());
    password = std::move(*found);
  }
  Result<std::shared_ptr<const TlsCredentials>> loaded = TlsCredentials::load(*settings, password);
  if (password) ::explicit_bzero(password->data(), password->size());
  if (!loaded) return fail(loaded.error());
  if (Result<void> unused = check_unused(*id); !unused) return unused;
  tls_.emplace(*id, std::move(*loaded));
  return ok();
}

Result<void> Objects::check_id(const std::optional<std::string>& id) {
  if (!id) return invalid("Parameter 'id' is missing");
  if (is_identifier(*id)) return ok();
  return invalid(
      "Parameter 'id' expects an identifier\n"
      "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.");
}

Result<void> Objects::check_unused(const std::string& id) const {
  const bool taken = secrets_.contains(id) || tls_.contains(id) || authorizations_.contains(id) ||
                     throttle_groups_->throttle_group(id) != nullptr;
  if (!taken) return ok();
  return invalid(
      fmt::format("attempt to add duplicate property '{}' to object (type 'container')", id));
}

Result<std::string> Objects::decrypt(OptionDict& options, std::string_view key_id,
                                     std::string_view data) const {
  const std::string* key = find_secret(key_id);
  if (key == nullptr) return invalid(fmt::format("No secret with id '{}'", key_id));
  if (key->size() != kKeySize) {
    return invalid(fmt::format("Key should be {} bytes in length", kKeySize));
  }
  const std::optional<std::string> text = options.take_text("iv");
  if (!text) return invalid("IV is required to decrypt secret");
  const Result<std::string> vector = decode_base64(*text);
  if (!vector) return vector;
  if (vector->size() != kBlockSize) {
    return invalid(
        fmt::format("IV should be {} bytes in length not {}", kBlockSize, vector->size()));
  }
  if (data.size() % kBlockSize != 0) {
    return invalid(
        fmt::format("Length {} must be a multiple of block size {}", data.size(), kBlockSize));
  }
  return decrypt_cbc(*key, *vector, data);
}

std::optional<std::string> object_help(std::string_view text) {
  if (text == "help" || text == "?") {
    return "List of user creatable objects:\n"
           "  authz-list\n  authz-list-file\n  authz-simple\n"
           "  secret\n  throttle-group\n  tls-creds-anon\n  tls-creds-psk\n  tls-creds-x509\n";
  }
  if (text == "secret,help" || text == "secret,?") {
    return "secret options:\n"
           "  data=<string>\n"
           "  file=<string>\n"
           "  format=<raw|base64>\n"
           "  iv=<string>\n"
           "  keyid=<string>\n";
  }
  if (text == "authz-simple,help" || text == "authz-simple,?") {
    return "authz-simple options:\n  identity=<string>\n";
  }
  if (text == "authz-list,help" || text == "authz-list,?") {
    return "authz-list options:\n  policy=<QAuthZListPolicy>\n  rules=<QAuthZListRule>\n";
  }
  if (text == "authz-list-file,help" || text == "authz-list-file,?") {
    return "authz-list-file options:\n  filename=<string>\n  refresh=<bool>\n";
  }
  if (text == "throttle-group,help" || text == "throttle-group,?") return ThrottleGroups::help();
  const size_t comma = text.find(',');
  if (comma == text.npos || (text.substr(comma) != ",help" && text.substr(comma) != ",?")) {
    return std::nullopt;
  }
  std::vector<OptionDescription> rows = TlsSettings::describe(text.substr(0, comma));
  if (rows.empty()) return std::nullopt;
  std::ranges::sort(rows, {}, &OptionDescription::name);
  std::string help = fmt::format("{} options:\n", text.substr(0, comma));
  for (const OptionDescription& row : rows) {
    const bool choice = row.type == OptionType::kChoice;
    help += fmt::format("  {}=<{}>\n", row.name,
                        choice                            ? "QCryptoTLSCredsEndpoint"
                        : row.type == OptionType::kSwitch ? "bool"
                                                          : "string");
  }
  return help;
}

}  // namespace ashlar::tools
