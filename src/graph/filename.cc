// Prefixes, json: names, and relative names.
#include "graph/filename.h"

#include <fmt/format.h>

#include <algorithm>

#include "graph/graph_state.h"

namespace ashlar {

namespace {

/// The prefix of the driver that takes plain paths.
constexpr std::string_view kPathPrefix = "file";

const DriverSpec* find_by_prefix(const GraphState& graph, std::string_view prefix) {
  for (const DriverSpec* spec : graph.drivers()) {
    if (takes_prefix(*spec, prefix)) return spec;
  }
  return nullptr;
}

}  // namespace

bool takes_prefix(const DriverSpec& spec, std::string_view prefix) {
  const std::string_view protocol = prefix.substr(0, prefix.find('+'));
  std::string_view left = spec.filename_prefix;
  while (!left.empty()) {
    const size_t end = std::min(left.find(' '), left.size());
    if (left.substr(0, end) == protocol) return true;
    left.remove_prefix(std::min(end + 1, left.size()));
  }
  return false;
}

std::string_view filename_prefix(std::string_view filename) {
  const size_t end = filename.find_first_of(":/");
  if (end == std::string_view::npos || filename[end] == '/') return {};
  return filename.substr(0, end);
}

Result<OptionDict> storage_options(const GraphState& graph, std::string_view filename) {
  std::string_view prefix = filename_prefix(filename);
  const bool is_path = prefix.empty() && !filename.starts_with(':');
  if (is_path) prefix = kPathPrefix;
  const DriverSpec* spec = find_by_prefix(graph, prefix);
  if (spec == nullptr) {
    return fail(
        Error(ErrorCode::kInvalidArgument,
              fmt::format("no driver is known for file names that start with \"{}:\"", prefix))
            .because("protocol-unknown", {std::string(prefix)}));
  }
  OptionDict options;
  // A driver may hand a name on to another, as files do with devices.
  options.set("driver", std::string(spec->name));
  if (spec->parse_filename == nullptr) {
    options.set("filename", std::string(filename));
    return options;
  }
  Result<OptionDict> parsed = spec->parse_filename(filename);
  if (!parsed) return parsed;
  for (const auto& [key, value] : parsed->entries()) options.set(key, value);
  return options;
}

Result<OptionDict> expand_image_name(const GraphState& graph, OptionDict options) {
  const std::optional<std::string> driver = options.text("driver");
  if (driver) {
    const DriverSpec* spec = graph.find_driver(*driver);
    if (spec != nullptr && spec->kind == NodeKind::kStorage) return options;
  }
  const std::optional<std::string> filename = options.take_text("filename");
  if (!filename) return options;
  Result<OptionDict> storage = storage_options(graph, *filename);
  if (!storage) return storage;
  // What is already said about the file stands.
  const OptionDict said = options.take_subtree("file");
  options.add_subtree("file", *storage);
  options.add_subtree("file", said);
  return options;
}

Result<std::string> resolve_beside(const std::string& name, const std::string& base) {
  if (name.starts_with('/') || !filename_prefix(name).empty()) return name;
  if (base.starts_with("json:")) {
    return fail(
        Error(ErrorCode::kInvalidArgument,
              fmt::format("\"{}\" is relative to an image without a directory, {}", name, base))
            .because("reference-relative", {name, base}));
  }
  const size_t slash = base.rfind('/');
  if (slash != std::string::npos) return base.substr(0, slash + 1) + name;
  const size_t prefix = filename_prefix(base).size();
  return prefix == 0 ? name : base.substr(0, prefix + 1) + name;
}

std::string comparable_name(std::string_view filename) {
  std::string result;
  if (filename.starts_with('/')) result.push_back('/');
  while (!filename.empty()) {
    const size_t end = std::min(filename.find('/'), filename.size());
    const std::string_view part = filename.substr(0, end);
    filename.remove_prefix(std::min(end + 1, filename.size()));
    if (part.empty() || part == ".") continue;
    if (!result.empty() && result.back() != '/') result += '/';
    result += part;
  }
  return result;
}

}  // namespace ashlar
