// Header extensions of qcow2 and the encoding of the whole header: private to header.cc.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "ashlar/error.h"
#include "formats/qcow2/header.h"

namespace ashlar::qcow2 {

/// Decodes the extension area into `header`, whose fixed fields are complete.
Result<void> decode_extensions(std::span<const std::byte> area, Header& header);

/// The feature name table of an extension area that need not be valid otherwise.
std::vector<FeatureName> find_feature_names(std::span<const std::byte> area);

/// Text up to the first NUL: what is after it is not part of any name.
std::string text_of(std::span<const std::byte> bytes);

}  // namespace ashlar::qcow2
