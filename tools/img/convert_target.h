// What img convert writes to: an image it creates, or one that exists.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tools/common/create_options.h"
#include "tools/common/image_arguments.h"
#include "tools/img/convert_options.h"

namespace ashlar::tools {

/// The target of a conversion. Steps complain and say whether to go on.
class ConvertTarget {
 public:
  ConvertTarget(Session& session, const ConvertOptions& options)
      : session_(session), options_(options) {}

  /// Checks what is asked for, without touching anything. `source`: the only one, or null.
  bool prepare(size_t sources);
  /// Creates the image, where that is asked for, for `size` bytes.
  bool create(uint64_t size);
  /// Opens it and checks that it can take `size` bytes.
  bool open(uint64_t size);
  /// Writes everything back. Errors: what was written may be lost.
  Result<void> flush();

  Backend& image() const { return *image_; }
  Node& node() const { return *image_->root(); }
  /// Only what the source has above this image's backing image is to be copied.
  bool is_overlay() const { return overlay_; }
  /// Everything in it reads as zeroes.
  bool reads_zero() const;

  /// Closes it, and removes the file if create() made it where there was none: nobody is to take a
  /// part of a copy for the whole.
  void discard();

 private:
  bool prepare_creation(size_t sources);
  bool take_backing(size_t sources);
  bool check_compression(bool supported) const;
  std::optional<ImageRequest> request() const;
  bool complain(std::string_view text) const;

  Session& session_;
  const ConvertOptions& options_;
  std::optional<CreateTable> table_;
  OptionDict create_options_;
  bool overlay_ = false;
  bool new_file_ = false;
  BackendRef image_;
};

}  // namespace ashlar::tools
