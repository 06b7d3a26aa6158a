// Options for creating images: -o lists, their help, and the line that create announces.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/graph.h"
#include "ashlar/options.h"

namespace ashlar::tools {

/// What can be said when an image of one format is created: the rows of the format, then those
/// that only the storage of the file has.
class CreateTable {
 public:
  /// The table of `format` alone. Errors: kNotFound for an unknown format.
  static Result<CreateTable> of_format(const Graph& graph, std::string_view format);
  /// With the storage that `filename` selects. Errors: also kUnsupported when either cannot create.
  static Result<CreateTable> of_file(const Graph& graph, std::string_view format,
                                     std::string_view filename);

  const DriverSpec& format() const { return *format_; }
  std::span<const OptionDescription> rows() const { return rows_; }
  const OptionDescription* find(std::string_view name) const;

  /// Reads -o lists, given in order; later values win. Sizes become bytes.
  /// Errors: kInvalidArgument with the user's words.
  Result<OptionDict> parse(std::span<const std::string_view> lists) const;

  /// "Formatting 'a', fmt=raw size=1024": what was given, or has a default, in the table's order.
  std::string formatting_line(std::string_view filename, const OptionDict& options) const;

  /// Rows sorted by name, one per line.
  std::string help() const;

 private:
  const DriverSpec* format_ = nullptr;
  std::vector<OptionDescription> rows_;
};

/// Whether an -o list is well formed; else the complaint.
Result<void> check_option_list(std::string_view list);

/// Whether one of the lists asks for help ("help" or "?" as an element).
bool asks_for_option_help(std::span<const std::string_view> lists);

/// What -o help prints for `format`; `filename` may be empty.
Result<std::string> create_option_help(const Graph& graph, std::string_view format,
                                       std::string_view filename);

}  // namespace ashlar::tools
