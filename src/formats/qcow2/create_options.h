// The options of new qcow2 images, and the header that follows from them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/options.h"
#include "ashlar/request.h"
#include "formats/qcow2/header.h"

namespace ashlar::qcow2 {

/// As given; the peer's names, order and words.
struct CreateOptions {
  std::optional<bool> encryption;
  std::optional<std::string> encrypt_format;
  std::optional<std::string> encrypt_key_secret;
  std::optional<std::string> encrypt_cipher_alg;
  std::optional<std::string> encrypt_cipher_mode;
  std::optional<std::string> encrypt_ivgen_alg;
  std::optional<std::string> encrypt_ivgen_hash_alg;
  std::optional<std::string> encrypt_hash_alg;
  std::optional<uint64_t> encrypt_iter_time;
  uint64_t cluster_size = 64_KiB;
  bool extended_l2 = false;
  std::optional<std::string> preallocation;
  std::string compression_type = "zlib";
  std::optional<uint64_t> size;
  std::optional<std::string> compat;
  std::optional<std::string> backing_file;
  std::optional<std::string> backing_format;
  std::optional<std::string> data_file;
  bool data_file_raw = false;
  bool lazy_refcounts = false;
  uint64_t refcount_bits = 16;

  static std::vector<Option<CreateOptions>> table();
};

/// What is to be created. The places of the tables are not in the header yet.
struct CreateRequest {
  Header header;
  Preallocation preallocation = Preallocation::kOff;
};

/// Takes the options out of `options`, of which none may be left, and checks them.
/// Errors: kInvalidArgument, kUnsupported (reason "qcow2-encryption-unsupported"), kTooLarge
/// ("qcow2-create-size").
Result<CreateRequest> read_create_options(OptionDict options);

/// Only what decides how much room an image needs; the rest is not checked, as with the peer.
/// `size` replaces the option of that name.
/// Errors: kInvalidArgument, kUnsupported (reason "qcow2-encryption-unsupported"), kTooLarge
/// ("qcow2-measure-size").
Result<CreateRequest> read_measure_options(OptionDict options, uint64_t size);

}  // namespace ashlar::qcow2
