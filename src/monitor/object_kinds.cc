// The kinds of objects and how each is made.
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "monitor/base64.h"
#include "monitor/errors.h"
#include "monitor/object_states.h"
#include "monitor/option_dict.h"

namespace ashlar::monitor {
namespace {

constexpr size_t kMaxSecret = 1 << 20;

std::optional<std::string> text_of(const JsonInput& properties, const char* name) {
  const auto found = properties.find(name);
  if (found == properties.end()) return std::nullopt;
  return found->get<std::string>();
}

Result<std::string> read_file(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  const auto failed = [&name](int error) {
    return refuse(fmt::format("Unable to read {}: Failed to open file “{}”: {}", name, name,
                              std::strerror(error)));
  };
  if (!file) return failed(errno);
  std::string bytes(kMaxSecret + 1, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  if (file.bad()) return failed(EIO);
  if (bytes.size() > kMaxSecret) return failed(EFBIG);
  return bytes;
}

/// AES-256 in CBC mode with the padding of PKCS 7.
Result<std::string> decrypt(const std::string& key, const std::string& vector,
                            const std::string& data) {
  constexpr size_t kKeySize = 32;
  constexpr size_t kBlockSize = 16;
  if (key.size() != kKeySize) {
    return refuse(fmt::format("Unexpected key length {}, expected {} bytes", key.size(), kKeySize));
  }
  if (vector.size() != kBlockSize) {
    return refuse(fmt::format("IV should be {} bytes in length not {}", kBlockSize, vector.size()));
  }
  const auto bytes = [](const std::string& text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  };
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  std::string plain(data.size() + kBlockSize, '\0');
  auto* out = reinterpret_cast<unsigned char*>(plain.data());
  int first = 0;
  int last = 0;
  const bool done = context != nullptr &&
                    EVP_DecryptInit_ex(context.get(), EVP_aes_256_cbc(), nullptr, bytes(key),
                                       bytes(vector)) == 1 &&
                    EVP_DecryptUpdate(context.get(), out, &first, bytes(data),
                                      static_cast<int>(data.size())) == 1 &&
                    EVP_DecryptFinal_ex(context.get(), out + first, &last) == 1;
  if (!done) return refuse("Incorrect number of padding bytes or wrong key of the secret");
  plain.resize(static_cast<size_t>(first) + static_cast<size_t>(last));
  return plain;
}

Result<std::string> decrypt_secret(const Objects& objects, const JsonInput& properties,
                                   const std::string& data) {
  const std::string key_id = *text_of(properties, "keyid");
  const Result<std::string> key = objects.secret(key_id);
  if (!key) return refuse(fmt::format("No secret with id '{}'", key_id));
  const std::optional<std::string> vector = text_of(properties, "iv");
  if (!vector) return refuse("IV is required to decrypt secret");
  Result<std::string> decoded = decode_base64(*vector);
  if (!decoded) return decoded;
  return decrypt(*key, *decoded, data);
}

Result<std::unique_ptr<ObjectState>> create_secret(Objects& objects, const NewObject& object) {
  const JsonInput& properties = object.properties;
  const std::optional<std::string> data = text_of(properties, "data");
  const std::optional<std::string> file = text_of(properties, "file");
  if (!data && !file) return refuse("Either 'file' or 'data' must be provided");
  if (data && file) return refuse("'file' and 'data' are mutually exclusive");
  Result<std::string> bytes = data ? Result<std::string>(*data) : read_file(*file);
  const bool encrypted = properties.contains("keyid");
  const bool base64 = text_of(properties, "format") == "base64";
  // The format is that of what was given: of the encrypted bytes, where they are.
  if (bytes && base64) bytes = decode_base64(*bytes);
  if (bytes && encrypted) bytes = decrypt_secret(objects, properties, *bytes);
  if (!bytes) return fail(bytes.error());
  return std::make_unique<SecretState>(std::move(*bytes));
}

Result<std::unique_ptr<ObjectState>> create_iothread(Objects& objects, const NewObject& object) {
  Loop* loop = objects.take_loop();
  if (loop == nullptr) {
    return refuse(fmt::format("There are {} iothreads already, which is the limit", kMaxLoops - 1));
  }
  auto state = std::make_unique<IoThreadState>(objects, *loop);
  if (Result<void> set = state->set_all(object.properties); !set) return fail(set.error());
  return state;
}

Result<std::unique_ptr<ObjectState>> create_tls(const Objects& objects, const JsonInput& properties,
                                                std::string_view type) {
  Result<OptionDict> members = to_options(properties);
  if (!members) return fail(members.error());
  members->erase("loaded");
  Result<TlsSettings> settings = TlsSettings::take(type, *members);
  if (!settings) return fail(settings.error());
  std::optional<std::string> password;
  if (settings->password_id) {
    Result<std::string> found = objects.secret(*settings->password_id);
    if (!found) return fail(found.error());
    password = std::move(*found);
  }
  Result<std::shared_ptr<const TlsCredentials>> loaded = TlsCredentials::load(*settings, password);
  if (password) OPENSSL_cleanse(password->data(), password->size());
  if (!loaded) return fail(loaded.error());
  return std::make_unique<TlsState>(std::move(*loaded));
}

Result<std::unique_ptr<ObjectState>> create_x509(Objects& objects, const NewObject& object) {
  return create_tls(objects, object.properties, "tls-creds-x509");
}
Result<std::unique_ptr<ObjectState>> create_psk(Objects& objects, const NewObject& object) {
  return create_tls(objects, object.properties, "tls-creds-psk");
}
Result<std::unique_ptr<ObjectState>> create_anonymous(Objects& objects, const NewObject& object) {
  return create_tls(objects, object.properties, "tls-creds-anon");
}

Result<std::unique_ptr<ObjectState>> create_authz_simple(Objects&, const NewObject& object) {
  return AuthorizationState::create("authz-simple", object.properties);
}
Result<std::unique_ptr<ObjectState>> create_authz_list(Objects&, const NewObject& object) {
  return AuthorizationState::create("authz-list", object.properties);
}
Result<std::unique_ptr<ObjectState>> create_authz_list_file(Objects&, const NewObject& object) {
  return AuthorizationState::create("authz-list-file", object.properties);
}

/// From "limits", and from the older properties with "x-" in front.
Result<ThrottleLimits> limits_of(const JsonInput& properties) {
  ThrottleLimits limits;
  Result<OptionDict> members = to_options(properties);
  if (!members) return fail(members.error());
  OptionDict inner = members->take_subtree("limits");
  if (Result<void> taken = limits.take(inner); !taken) return fail(taken.error());
  if (Result<void> taken = limits.take(*members, "x-"); !taken) return fail(taken.error());
  return limits;
}

Result<std::unique_ptr<ObjectState>> create_throttle_group(Objects&, const NewObject& object) {
  Result<ThrottleLimits> limits = limits_of(object.properties);
  if (!limits) return fail(limits.error());
  std::shared_ptr<ThrottleGroup> group = ThrottleGroup::create(object.id);
  if (Result<void> set = group->set_limits(*limits); !set) return fail(set.error());
  return std::make_unique<ThrottleState>(std::move(group));
}

constexpr ObjectProperty kThrottleProperties[] = {
    {"limits", "ThrottleLimits", "ThrottleLimits"},
    {"x-iops-total", "int", "int"},
    {"x-iops-total-max", "int", "int"},
    {"x-iops-total-max-length", "int", "int"},
    {"x-iops-read", "int", "int"},
    {"x-iops-read-max", "int", "int"},
    {"x-iops-read-max-length", "int", "int"},
    {"x-iops-write", "int", "int"},
    {"x-iops-write-max", "int", "int"},
    {"x-iops-write-max-length", "int", "int"},
    {"x-bps-total", "int", "int"},
    {"x-bps-total-max", "int", "int"},
    {"x-bps-total-max-length", "int", "int"},
    {"x-bps-read", "int", "int"},
    {"x-bps-read-max", "int", "int"},
    {"x-bps-read-max-length", "int", "int"},
    {"x-bps-write", "int", "int"},
    {"x-bps-write-max", "int", "int"},
    {"x-bps-write-max-length", "int", "int"},
    {"x-iops-size", "int", "int"},
};

constexpr ObjectProperty kVerifyPeer{"verify-peer", "bool", "bool", "true"};
constexpr ObjectProperty kDirectory{"dir", "str", "string"};
constexpr ObjectProperty kEndpoint{"endpoint", "(client server)", "QCryptoTLSCredsEndpoint",
                                   "\"client\""};
constexpr ObjectProperty kPriority{"priority", "str", "string"};
constexpr ObjectProperty kLoaded{"loaded", "bool", "bool", "true"};

constexpr ObjectProperty kX509Properties[] = {
    kVerifyPeer,
    kDirectory,
    kEndpoint,
    kPriority,
    kLoaded,
    {"sanity-check", "bool", "bool", "true"},
    {"passwordid", "str", "string"},
};
constexpr ObjectProperty kPskProperties[] = {
    kVerifyPeer, kDirectory, kEndpoint, kPriority, kLoaded, {"username", "str", "string"},
};
constexpr ObjectProperty kAnonymousProperties[] = {kVerifyPeer, kDirectory, kEndpoint, kPriority,
                                                   kLoaded};

constexpr ObjectProperty kSecretProperties[] = {
    {"data", "str", "string"},
    {"file", "str", "string"},
    {"format", "(raw base64)", "QCryptoSecretFormat", "\"raw\""},
    {"keyid", "str", "string"},
    {"iv", "str", "string"},
    {"loaded", "bool", "bool", "true"},
};

constexpr ObjectProperty kIoThreadProperties[] = {
    {"aio-max-batch", "int", "int", "0"},    {"thread-pool-min", "int", "int", "0"},
    {"thread-pool-max", "int", "int", "64"}, {"poll-max-ns", "int", "int", "32768"},
    {"poll-grow", "int", "int", "0"},        {"poll-shrink", "int", "int", "0"},
    {"poll-weight", "int", "int", "0"},
};

constexpr ObjectProperty kAuthzSimpleProperties[] = {
    {"identity", "str", "string", "", ObjectProperty::Need::kRequired},
};
constexpr ObjectProperty kAuthzListProperties[] = {
    {"policy", "(deny allow)", "QAuthZListPolicy", "\"deny\""},
    {"rules", "[AuthzRule]", "QAuthZListRule", "[]"},
};
constexpr ObjectProperty kAuthzListFileProperties[] = {
    {"filename", "str", "string", "", ObjectProperty::Need::kRequired},
    {"refresh", "bool", "bool", "true"},
};

constexpr ObjectKind kKinds[] = {
    {"authz-list", "authz", kAuthzListProperties, create_authz_list},
    {"authz-list-file", "authz", kAuthzListFileProperties, create_authz_list_file},
    {"authz-simple", "authz", kAuthzSimpleProperties, create_authz_simple},
    {"iothread", "event-loop-base", kIoThreadProperties, create_iothread},
    {"secret", "secret_common", kSecretProperties, create_secret},
    {"throttle-group", "object", kThrottleProperties, create_throttle_group},
    {"tls-creds-anon", "tls-creds", kAnonymousProperties, create_anonymous},
    {"tls-creds-psk", "tls-creds", kPskProperties, create_psk},
    {"tls-creds-x509", "tls-creds", kX509Properties, create_x509},
};

}  // namespace

SecretState::~SecretState() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

std::optional<Json> ThrottleState::property(std::string_view name) const {
  Json limits = Json::object();
  for (const auto& [key, value] : group_->limits().entries()) {
    limits[key] = value;
    if (name == "x-" + key) return Json(value);
  }
  if (name == "limits") return limits;
  return std::nullopt;
}

Result<void> ThrottleState::set_property(const std::string& name, const JsonInput& value) {
  const JsonInput changed = {{name, value}};
  Result<OptionDict> members = to_options(changed);
  if (!members) return fail(members.error());
  // "limits" says all of them anew, the older properties one each.
  ThrottleLimits limits = name == "limits" ? ThrottleLimits() : group_->limits();
  OptionDict inner = members->take_subtree("limits");
  if (Result<void> taken = limits.take(inner); !taken) return taken;
  if (Result<void> taken = limits.take(*members, "x-"); !taken) return taken;
  if (!inner.empty() || !members->empty()) {
    const OptionDict& left = inner.empty() ? *members : inner;
    return refuse(fmt::format("Parameter '{}' is unexpected", left.entries()[0].first));
  }
  return group_->set_limits(limits);
}

std::span<const ObjectKind> object_kinds() { return kKinds; }

std::string_view throttle_limits_members() {
  return "*iops-total:int, *iops-total-max:int, *iops-total-max-length:int, *iops-read:int, "
         "*iops-read-max:int, *iops-read-max-length:int, *iops-write:int, *iops-write-max:int, "
         "*iops-write-max-length:int, *bps-total:int, *bps-total-max:int, "
         "*bps-total-max-length:int, *bps-read:int, *bps-read-max:int, *bps-read-max-length:int, "
         "*bps-write:int, *bps-write-max:int, *bps-write-max-length:int, *iops-size:int";
}

}  // namespace ashlar::monitor
