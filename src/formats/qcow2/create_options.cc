// The options of new qcow2 images.
#include "formats/qcow2/create_options.h"

#include <fmt/format.h>

#include <array>

#include "base/checked.h"
#include "formats/qcow2/extension_types.h"

namespace ashlar::qcow2 {
namespace {

// The feature names are a courtesy that small clusters have no room for.
constexpr uint64_t kRoomForFeatureNames = 4_KiB;

std::unexpected<Error> refuse(std::string_view reason, std::string message,
                              std::initializer_list<std::string> values = {}) {
  return fail(Error(ErrorCode::kInvalidArgument, std::move(message)).because(reason, values));
}

/// A word of a fixed list, under the name that the peer's messages give the option.
template <typename T, size_t kCount>
Result<T> word(std::string_view option, std::string_view value,
               const std::array<std::pair<std::string_view, T>, kCount>& words) {
  std::string allowed;
  for (const auto& [name, meaning] : words) {
    if (name == value) return meaning;
    allowed.append(allowed.empty() ? "" : ", ").append(name);
  }
  return refuse("option-choice",
                fmt::format("option \"{}\" wants one of {}, not \"{}\"", option, allowed, value),
                {std::string(option), std::string(value)});
}

constexpr auto kVersions = std::to_array<std::pair<std::string_view, uint32_t>>(
    {{"0.10", 2}, {"v2", 2}, {"1.1", 3}, {"v3", 3}});
constexpr auto kPreallocations = std::to_array<std::pair<std::string_view, Preallocation>>(
    {{"off", Preallocation::kOff},
     {"metadata", Preallocation::kMetadata},
     {"falloc", Preallocation::kFalloc},
     {"full", Preallocation::kFull}});
constexpr auto kCompressionTypes = std::to_array<std::pair<std::string_view, CompressionType>>(
    {{"zlib", CompressionType::kDeflate}, {"zstd", CompressionType::kZstd}});

/// Checks one after the other, in the order in which the peer complains.
class Reader {
 public:
  explicit Reader(const CreateOptions& options) : options_(options), header_(request_.header) {}

  Result<CreateRequest> read_for_measure(uint64_t size) {
    if (options_.encrypt_format) {
      if (auto good = refuse_encryption(); !good) return fail(good.error());
    }
    for (const Step step : {&Reader::read_words, &Reader::read_clusters, &Reader::read_refcounts}) {
      if (auto good = (this->*step)(); !good) return fail(good.error());
    }
    if (auto good = set_size(size, "qcow2-measure-size"); !good) return fail(good.error());
    header_.backing_file = options_.backing_file.value_or("");
    return std::move(request_);
  }

  Result<CreateRequest> read() {
    for (const Step step : {&Reader::refuse_encryption, &Reader::read_words, &Reader::read_clusters,
                            &Reader::read_backing, &Reader::read_refcounts, &Reader::read_data_file,
                            &Reader::read_compression, &Reader::read_size}) {
      if (auto good = (this->*step)(); !good) return fail(good.error());
    }
    finish();
    return std::move(request_);
  }

 private:
  using Step = Result<void> (Reader::*)();

  Result<void> refuse_encryption() {
    const bool wanted = options_.encryption.value_or(false) || options_.encrypt_format ||
                        options_.encrypt_key_secret || options_.encrypt_cipher_alg ||
                        options_.encrypt_cipher_mode || options_.encrypt_ivgen_alg ||
                        options_.encrypt_ivgen_hash_alg || options_.encrypt_hash_alg ||
                        options_.encrypt_iter_time;
    if (!wanted) return ok();
    return fail(Error(ErrorCode::kUnsupported, "encrypted qcow2 images cannot be created")
                    .because("qcow2-encryption-unsupported"));
  }

  Result<void> read_words() {
    const auto version = word("version", options_.compat.value_or("v3"), kVersions);
    if (!version) return fail(version.error());
    header_.version = *version;
    const auto mode =
        word("preallocation", options_.preallocation.value_or("off"), kPreallocations);
    if (!mode) return fail(mode.error());
    request_.preallocation = *mode;
    const auto type = word("compression-type", options_.compression_type, kCompressionTypes);
    if (!type) return fail(type.error());
    header_.compression = *type;
    return ok();
  }

  Result<void> read_clusters() {
    if (options_.extended_l2 && header_.version < 3) {
      return refuse("qcow2-create-extended-l2-version", "extended L2 entries need compat=1.1");
    }
    const uint64_t size = options_.cluster_size;
    if (!is_power_of_two(size) || size < uint64_t{1} << kMinClusterBits ||
        size > uint64_t{1} << kMaxClusterBits) {
      return refuse("qcow2-create-cluster-size",
                    fmt::format("cluster size {} is not a power of two from 512 to 2 MiB", size));
    }
    header_.cluster_bits = static_cast<uint32_t>(std::countr_zero(size));
    if (!options_.extended_l2) return ok();
    header_.incompatible_features |= incompatible::kExtendedL2;
    if (header_.cluster_bits < kMinExtendedL2ClusterBits) {
      return refuse(
          "qcow2-create-extended-l2-cluster-size",
          fmt::format("extended L2 entries need clusters of 16 KiB or more, not {}", size));
    }
    return ok();
  }

  Result<void> read_backing() {
    const bool backed = options_.backing_file && !options_.backing_file->empty();
    if (backed && request_.preallocation != Preallocation::kOff && !options_.extended_l2) {
      return refuse("qcow2-create-backing-preallocation",
                    "preallocated clusters hide the backing file unless extended_l2 is on");
    }
    if (options_.backing_format && !backed) {
      return refuse("qcow2-create-backing-format", "backing_fmt is given without backing_file");
    }
    if (options_.lazy_refcounts && header_.version < 3) {
      return refuse("qcow2-create-lazy-refcounts-version", "lazy refcounts need compat=1.1");
    }
    header_.compatible_features = options_.lazy_refcounts ? compatible::kLazyRefcounts : 0;
    if (backed) {
      header_.backing_file = *options_.backing_file;
      header_.backing_format = options_.backing_format;
    }
    return ok();
  }

  Result<void> read_refcounts() {
    const uint64_t bits = options_.refcount_bits;
    if (!is_power_of_two(bits) || bits > uint64_t{1} << kMaxRefcountOrder) {
      return refuse("qcow2-create-refcount-bits",
                    fmt::format("refcount width {} is not a power of two from 1 to 64", bits));
    }
    if (header_.version < 3 && bits != 16) {
      return refuse("qcow2-create-refcount-bits-version",
                    fmt::format("refcount width {} needs compat=1.1, which is not 16", bits));
    }
    header_.refcount_order = static_cast<uint32_t>(std::countr_zero(bits));
    return ok();
  }

  Result<void> read_data_file() {
    if (options_.data_file_raw && !header_.backing_file.empty()) {
      return refuse("qcow2-create-raw-backing",
                    "data_file_raw makes a disk of its own, which has no backing file");
    }
    if (options_.data_file && header_.version < 3) {
      return refuse("qcow2-create-data-file-version", "external data files need compat=1.1");
    }
    if (options_.data_file_raw && !options_.data_file) {
      return refuse("qcow2-create-raw-data-file", "data_file_raw is given without data_file");
    }
    if (!options_.data_file) return ok();
    header_.data_file = options_.data_file;
    header_.incompatible_features |= incompatible::kDataFile;
    if (!options_.data_file_raw) return ok();
    header_.autoclear_features |= autoclear::kRawDataFile;
    // Guest and file offsets are the same: every cluster is mapped from the start.
    if (request_.preallocation == Preallocation::kOff) {
      request_.preallocation = Preallocation::kMetadata;
    }
    return ok();
  }

  Result<void> read_compression() {
    if (header_.compression == CompressionType::kDeflate) return ok();
    if (header_.version < 3) {
      return refuse("qcow2-create-compression-version", "zstd compression needs compat=1.1");
    }
    header_.incompatible_features |= incompatible::kCompressionType;
    return ok();
  }

  Result<void> read_size() {
    if (!options_.size) return refuse("create-size-missing", "a new image needs a size");
    return set_size(*options_.size, "qcow2-create-size");
  }

  Result<void> set_size(uint64_t size, std::string_view too_large) {
    // Guests see whole sectors.
    const uint64_t largest = align_down(kMaxDeviceSize, 512);
    if (size <= largest) {
      header_.size = align_up(size, 512);
      if (const auto entries = l1_entries_for(header_, header_.size)) {
        header_.l1_size = *entries;
        return ok();
      }
    }
    return fail(Error(ErrorCode::kTooLarge,
                      fmt::format("size {} is too large for clusters of {} bytes, at most {} fit",
                                  size, header_.cluster_size(),
                                  std::min(largest, kMaxL1Bytes / 8 * header_.l1_entry_coverage())))
                    .because(too_large));
  }

  void finish() {
    header_.header_length = header_.version < 3 ? kHeaderLengthV2 : kHeaderLengthV3;
    if (header_.version < 3) return;
    header_.later_fields.resize(kHeaderLengthV3 - kMinHeaderLengthV3 - 1);
    uint64_t used = header_.header_length;
    if (header_.backing_format)
      used += kExtensionHead + align_up(header_.backing_format->size(), 8);
    if (header_.data_file) used += kExtensionHead + align_up(header_.data_file->size(), 8);
    if (used + kRoomForFeatureNames < header_.cluster_size()) {
      header_.feature_names = default_feature_names();
    }
  }

  const CreateOptions& options_;
  CreateRequest request_;
  Header& header_;
};

Result<CreateOptions> take_all(OptionDict options) {
  auto parsed = take_options<CreateOptions>(options);
  if (!parsed || options.empty()) return parsed;
  const std::string& name = options.entries().front().first;
  return refuse("option-unknown", fmt::format("qcow2 images have no option \"{}\"", name), {name});
}

}  // namespace

std::vector<Option<CreateOptions>> CreateOptions::table() {
  using C = CreateOptions;
  return {
      option("encryption", &C::encryption,
             "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)"),
      option("encrypt.format", &C::encrypt_format,
             "Encrypt the image, format choices: 'aes', 'luks'"),
      option("encrypt.key-secret", &C::encrypt_key_secret,
             "ID of secret providing qcow AES key or LUKS passphrase"),
      option("encrypt.cipher-alg", &C::encrypt_cipher_alg, "Name of encryption cipher algorithm"),
      option("encrypt.cipher-mode", &C::encrypt_cipher_mode, "Name of encryption cipher mode"),
      option("encrypt.ivgen-alg", &C::encrypt_ivgen_alg, "Name of IV generator algorithm"),
      option("encrypt.ivgen-hash-alg", &C::encrypt_ivgen_hash_alg,
             "Name of IV generator hash algorithm"),
      option("encrypt.hash-alg", &C::encrypt_hash_alg, "Name of encryption hash algorithm"),
      number_option("encrypt.iter-time", &C::encrypt_iter_time,
                    "Time to spend in PBKDF in milliseconds"),
      option("cluster_size", &C::cluster_size, "qcow2 cluster size", "65536"),
      option("extended_l2", &C::extended_l2, "Extended L2 tables", "off"),
      option("preallocation", &C::preallocation,
             "Preallocation mode (allowed values: off, metadata, falloc, full)"),
      option("compression_type", &C::compression_type,
             "Compression method used for image cluster compression", "zlib"),
      option("size", &C::size, "Virtual disk size"),
      option("compat", &C::compat, "Compatibility level (v2 [0.10] or v3 [1.1])"),
      option("backing_file", &C::backing_file, "File name of a base image"),
      option("backing_fmt", &C::backing_format, "Image format of the base image"),
      option("data_file", &C::data_file, "File name of an external data file"),
      option("data_file_raw", &C::data_file_raw,
             "The external data file must stay valid as a raw image"),
      option("lazy_refcounts", &C::lazy_refcounts, "Postpone refcount updates", "off"),
      number_option("refcount_bits", &C::refcount_bits, "Width of a reference count entry in bits",
                    "16"),
  };
}

Result<CreateRequest> read_create_options(OptionDict options) {
  const auto parsed = take_all(std::move(options));
  if (!parsed) return fail(parsed.error());
  return Reader(*parsed).read();
}

Result<CreateRequest> read_measure_options(OptionDict options, uint64_t size) {
  const auto parsed = take_all(std::move(options));
  if (!parsed) return fail(parsed.error());
  return Reader(*parsed).read_for_measure(size);
}

}  // namespace ashlar::qcow2
