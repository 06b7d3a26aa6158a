// Options for creating images.
#include "tools/common/create_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "graph/filename.h"
#include "tools/common/peer_text.h"

namespace ashlar::tools {
namespace {

constexpr std::string_view kDefaultStorage = "file";

std::unexpected<Error> complaint(ErrorCode code, std::string text) {
  return fail(code, std::move(text));
}

/// The prefix of a file name that names a protocol; empty for a plain path.
std::string_view protocol_prefix(std::string_view filename) {
  const size_t colon = filename.find(':');
  if (colon == std::string_view::npos || filename.find('/') < colon) return {};
  return filename.substr(0, colon);
}

Result<const DriverSpec*> storage_of(const Graph& graph, std::string_view filename) {
  const std::string_view prefix = protocol_prefix(filename);
  if (prefix.empty()) return graph.find_driver(kDefaultStorage);
  for (const DriverSpec* driver : graph.drivers()) {
    if (driver->kind == NodeKind::kStorage && takes_prefix(*driver, prefix)) return driver;
  }
  return complaint(ErrorCode::kNotFound, fmt::format("Unknown protocol '{}'", prefix));
}

std::string_view type_text(OptionType type) {
  switch (type) {
    case OptionType::kSwitch:
      return "<bool (on/off)>";
    case OptionType::kSize:
      return "<size>";
    case OptionType::kNumber:
      return "<num>";
    case OptionType::kText:
    case OptionType::kChoice:
      return "<str>";
  }
  return "<str>";
}

std::string doubled_commas(std::string_view text) {
  std::string doubled;
  for (const char c : text) {
    doubled += c;
    if (c == ',') doubled += c;
  }
  return doubled;
}

/// Elements of a list: separated by single commas; doubled ones belong to a value.
std::vector<std::string_view> elements_of(std::string_view list) {
  std::vector<std::string_view> elements;
  size_t start = 0;
  for (size_t at = 0; at <= list.size(); ++at) {
    if (at < list.size() && list[at] != ',') continue;
    if (at + 1 < list.size() && list[at + 1] == ',') {
      ++at;
      continue;
    }
    elements.push_back(list.substr(start, at - start));
    start = at + 1;
  }
  return elements;
}

/// A value as messages, the announcement and the driver get it.
Result<std::string> normalised(const OptionDescription& row, const OptionValue& value) {
  if (row.type == OptionType::kSwitch) {
    const Result<bool> is_on = option_switch(row, value);
    if (!is_on) return fail(is_on.error());
  } else if (row.type == OptionType::kSize || row.type == OptionType::kNumber) {
    const Result<uint64_t> number = option_unsigned(row, value);
    if (!number) return fail(number.error());
    return std::to_string(*number);
  }
  // Switches are announced as they were written. A choice is the driver's to judge: the
  // announcement comes first.
  const auto* text = std::get_if<std::string>(&value);
  return text == nullptr ? std::string() : *text;
}

}  // namespace

Result<CreateTable> CreateTable::of_format(const Graph& graph, std::string_view format) {
  CreateTable table;
  table.format_ = graph.find_driver(format);
  if (table.format_ == nullptr) {
    return complaint(ErrorCode::kNotFound, fmt::format("Unknown file format '{}'", format));
  }
  const DriverSpec& spec = *table.format_;
  if ((spec.create == nullptr && spec.create_file == nullptr) || spec.create_options == nullptr) {
    return complaint(ErrorCode::kUnsupported,
                     fmt::format("Format driver '{}' does not support image creation", format));
  }
  table.rows_ = spec.create_options();
  return table;
}

Result<CreateTable> CreateTable::of_file(const Graph& graph, std::string_view format,
                                         std::string_view filename) {
  Result<CreateTable> table = of_format(graph, format);
  if (!table) return table;
  const Result<const DriverSpec*> storage = storage_of(graph, filename);
  if (!storage) return fail(storage.error());
  if (*storage == nullptr || (*storage)->create_file == nullptr) {
    return complaint(ErrorCode::kUnsupported,
                     fmt::format("Protocol driver '{}' does not support image creation",
                                 *storage ? (*storage)->name : kDefaultStorage));
  }
  if ((*storage)->create_options == nullptr) return table;
  for (const OptionDescription& row : (*storage)->create_options()) {
    if (table->find(row.name) == nullptr) table->rows_.push_back(row);
  }
  return table;
}

const OptionDescription* CreateTable::find(std::string_view name) const {
  const auto found = std::ranges::find(rows_, name, &OptionDescription::name);
  return found == rows_.end() ? nullptr : &*found;
}

Result<OptionDict> CreateTable::parse(std::span<const std::string_view> lists) const {
  OptionDict all;
  for (const std::string_view list : lists) {
    const Result<OptionDict> some = OptionDict::parse_key_value(list);
    if (!some) return some;
    for (const auto& [name, value] : some->entries()) {
      const OptionDescription* row = find(name);
      if (row == nullptr) {
        return complaint(ErrorCode::kInvalidArgument, fmt::format("Invalid parameter '{}'", name));
      }
      Result<std::string> text = normalised(*row, value);
      if (!text) return fail(text.error());
      all.set(name, std::move(*text));
    }
  }
  return all;
}

std::string CreateTable::formatting_line(std::string_view filename,
                                         const OptionDict& options) const {
  std::string line = fmt::format("Formatting '{}', fmt={}", filename, format_->name);
  for (const OptionDescription& row : rows_) {
    const std::optional<std::string> given = options.text(row.name);
    if (!given && row.default_text.empty()) continue;
    const std::string value = given.value_or(std::string(row.default_text));
    line += fmt::format(" {}={}", row.name, doubled_commas(value));
  }
  return line;
}

std::string CreateTable::help() const {
  std::vector<OptionDescription> sorted = rows_;
  std::ranges::sort(sorted, {}, &OptionDescription::name);
  std::string text;
  for (const OptionDescription& row : sorted) {
    text += fmt::format("  {:<22} - {}\n", fmt::format("{}={}", row.name, type_text(row.type)),
                        row.help);
  }
  return text;
}

Result<void> check_option_list(std::string_view list) {
  for (const std::string_view element : elements_of(list)) {
    if (element.empty()) {
      return complaint(ErrorCode::kInvalidArgument, fmt::format("Invalid option list: {}", list));
    }
  }
  return ok();
}

bool asks_for_option_help(std::span<const std::string_view> lists) {
  for (const std::string_view list : lists) {
    for (const std::string_view element : elements_of(list)) {
      if (element == "help" || element == "?") return true;
    }
  }
  return false;
}

Result<std::string> create_option_help(const Graph& graph, std::string_view format,
                                       std::string_view filename) {
  if (!filename.empty()) {
    const Result<CreateTable> table = CreateTable::of_file(graph, format, filename);
    if (!table) return fail(table.error());
    return "Supported options:\n" + table->help();
  }
  const Result<CreateTable> table = CreateTable::of_format(graph, format);
  if (!table) return fail(table.error());
  return fmt::format(
      "Supported {} options:\n{}\n"
      "The protocol level may support further options.\n"
      "Specify the target filename to include those options.\n",
      format, table->help());
}

}  // namespace ashlar::tools
