// File names as users type them, and the options they stand for.
#pragma once

#include <string>
#include <string_view>

#include "ashlar/error.h"
#include "ashlar/options.h"

namespace ashlar {

class GraphState;
struct DriverSpec;

/// What precedes a colon before any slash: "nbd" of "nbd://host". Empty: a plain path.
std::string_view filename_prefix(std::string_view filename);

/// Whether `prefix` selects the driver. It can have several, with blanks between them in the list
/// ("nbd nbds"); behind a plus sign stands a transport, which only the driver looks at
/// ("nbd+unix").
bool takes_prefix(const DriverSpec& spec, std::string_view prefix);

/// The options of the storage behind a path or `prefix:...`, "driver" among them.
/// Errors: kInvalidArgument "protocol-unknown" {prefix}.
Result<OptionDict> storage_options(const GraphState& graph, std::string_view filename);

/// A "filename" that stands for a whole image becomes its "file.*"; other options are left.
Result<OptionDict> expand_image_name(const GraphState& graph, OptionDict options);

/// `name` as seen from the image `base`: relative paths are taken beside it.
/// Errors: kInvalidArgument "reference-relative" {name, base} when base is no file name.
Result<std::string> resolve_beside(const std::string& name, const std::string& base);

/// A form in which two names of one file that differ by "./" and doubled slashes are equal.
std::string comparable_name(std::string_view filename);

}  // namespace ashlar
