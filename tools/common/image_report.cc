// Reports of images.
#include "tools/common/image_report.h"

#include <fmt/format.h>

#include <array>
#include <ctime>

#include "ashlar/graph.h"
#include "tools/common/peer_names.h"
#include "tools/common/size_text.h"

namespace ashlar::tools {
namespace {

constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

/// Keys have dashes in JSON and blanks for people.
std::string spoken(std::string_view key) {
  std::string text(key);
  for (char& c : text) {
    if (c == '-') c = ' ';
  }
  return text;
}

void append_tree(std::string& text, const InfoValue::Object& members, unsigned indent);

void append_value(std::string& text, std::string_view label, const InfoValue& value,
                  unsigned indent) {
  text.append(indent, ' ').append(label).append(":");
  const auto& held = value.value();
  if (const auto* object = std::get_if<InfoValue::Object>(&held)) {
    text += '\n';
    return append_tree(text, *object, indent + 4);
  }
  if (const auto* list = std::get_if<InfoValue::List>(&held)) {
    text += '\n';
    size_t index = 0;
    for (const InfoValue& element : *list) {
      append_value(text, fmt::format("[{}]", index++), element, indent + 4);
    }
    return;
  }
  if (const auto* flag = std::get_if<bool>(&held)) {
    text.append(*flag ? " true" : " false");
  } else if (const auto* number = std::get_if<int64_t>(&held)) {
    text += fmt::format(" {}", *number);
  } else {
    text.append(" ").append(std::get<std::string>(held));
  }
  text += '\n';
}

void append_tree(std::string& text, const InfoValue::Object& members, unsigned indent) {
  for (const auto& [key, value] : members) append_value(text, spoken(key), value, indent);
}

std::string date_text(uint32_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm local{};
  std::array<char, 32> text;
  if (::localtime_r(&time, &local) == nullptr) return "?";
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local)};
}

std::string clock_text(uint64_t nanoseconds) {
  const uint64_t milliseconds = nanoseconds / 1'000'000;
  const uint64_t seconds = milliseconds / 1000;
  return fmt::format("{:04}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60,
                     milliseconds % 1000);
}

void append_limits(std::string& text, const LimitsReport& limits) {
  text += fmt::format("Block limits:\n    request alignment: {}\n", limits.request_alignment);
  if (limits.max_transfer != 0) text += fmt::format("    max transfer: {}\n", limits.max_transfer);
  text += fmt::format("    min mem alignment: {0}\n    opt mem alignment: {0}\n",
                      limits.memory_alignment);
}

void append_actual_size(std::string& text, const ImageReport& report, unsigned indent) {
  text.append(indent, ' ').append("disk size: ");
  text += report.actual_size ? human_size(*report.actual_size) : "unavailable";
  text += '\n';
}

/// Nodes below the image itself, each with its path of edges.
void append_children(std::string& text, const ImageReport& report, const std::string& path) {
  for (const auto& [edge, child] : report.children) {
    std::string here = path;
    here.append("/").append(edge);
    const bool storage = child.kind == NodeKind::kStorage;
    text +=
        fmt::format("Child node '{}':\n    filename: {}\n    {}: {}\n    {}: {}\n", here,
                    child.filename, storage ? "protocol type" : "file format", child.format,
                    storage ? "file length" : "virtual size", size_with_bytes(child.virtual_size));
    append_actual_size(text, child, 4);
    append_specific(text, child.info, 4);
    append_children(text, child, here);
  }
}

void append_backing(std::string& text, const ImageReport& report) {
  if (report.info.backing_file.empty()) return;
  text += "backing file: " + report.info.backing_file;
  if (!report.full_backing_file.empty() && report.full_backing_file != report.info.backing_file) {
    text += fmt::format(" (actual path: {})", report.full_backing_file);
  }
  text += '\n';
  if (!report.info.backing_format.empty()) {
    text += "backing file format: " + report.info.backing_format + "\n";
  }
}

void write_snapshot(JsonWriter& json, const SnapshotInfo& snapshot) {
  json.begin_object();
  if (snapshot.instruction_count) json.member("icount", *snapshot.instruction_count);
  json.member("vm-clock-nsec", snapshot.vm_clock_ns % kNanosecondsPerSecond);
  json.member("name", snapshot.name);
  json.member("date-sec", snapshot.date_seconds);
  json.member("date-nsec", snapshot.date_nanoseconds);
  json.member("vm-clock-sec", snapshot.vm_clock_ns / kNanosecondsPerSecond);
  json.member("id", snapshot.id);
  json.member("vm-state-size", snapshot.vm_state_size);
  json.end_object();
}

void write_limits(JsonWriter& json, const LimitsReport& limits) {
  json.key("limits");
  json.begin_object();
  json.member("request-alignment", limits.request_alignment);
  if (limits.max_transfer != 0) json.member("max-transfer", limits.max_transfer);
  json.member("min-mem-alignment", limits.memory_alignment);
  json.member("opt-mem-alignment", limits.memory_alignment);
  json.end_object();
}

void write_lists(JsonWriter& json, const ImageReport& report) {
  json.key("children");
  json.begin_array();
  for (const auto& [edge, child] : report.children) {
    json.begin_object();
    json.member("name", edge);
    json.key("info");
    write_report(json, child);
    json.end_object();
  }
  json.end_array();
  if (report.info.snapshots.empty()) return;
  json.key("snapshots");
  json.begin_array();
  for (const SnapshotInfo& snapshot : report.info.snapshots) write_snapshot(json, snapshot);
  json.end_array();
}

/// The name of the file that holds an image: names in the image are beside it.
std::string storage_name(const Node& node) {
  const Node* primary = node.primary();
  return primary == nullptr ? node.filename() : storage_name(*primary);
}

/// Where `reference`, which `image` names, is: a name that opens it from here. Empty when there is
/// none.
std::string full_name(const Reference& reference, const std::string& image) {
  if (reference.name.starts_with("json:")) return reference.name;
  const auto options = follow_references()->resolve(reference, image);
  if (!options || !*options) return {};
  return (*options)->text("filename").value_or((*options)->to_json_name());
}

}  // namespace

std::optional<uint64_t> actual_size(const Node& node) {
  if (const auto own = node.driver().allocated_size()) return own;
  std::optional<uint64_t> sum;
  for (const Node::ChildLink& child : node.children()) {
    if (child.role == ChildRole::kBacking) continue;
    const std::optional<uint64_t> part = actual_size(*child.node);
    if (!part) return std::nullopt;
    sum = sum.value_or(0) + *part;
  }
  return sum;
}

namespace {

bool is_behind_a_server(const Node& node) {
  const Node* at = &node;
  while (at->info().cluster_size == 0 && at->primary() != nullptr) at = at->primary();
  return at->spec().name == "nbd";
}

}  // namespace

ImageReport describe_node(const Node& node) {
  ImageReport report;
  report.filename = shown_name(node);
  report.format = node.spec().name;
  report.kind = node.spec().kind;
  report.virtual_size = node.size();
  report.actual_size = actual_size(node);
  report.info = node.driver().describe();
  report.knows_dirty = !is_behind_a_server(node);
  if (const std::optional<Reference> backing = node.driver().backing_reference()) {
    report.full_backing_file = full_name(*backing, storage_name(node));
  }
  for (const Node::ChildLink& child : node.children()) {
    if (child.role == ChildRole::kBacking) continue;
    report.children.push_back({child.name, describe_node(*child.node)});
  }
  return report;
}

void append_report(std::string& text, const ImageReport& report) {
  text += fmt::format("image: {}\nfile format: {}\nvirtual size: {}\n", report.filename,
                      report.format, size_with_bytes(report.virtual_size));
  append_actual_size(text, report, 0);
  if (report.info.encrypted) text += "encrypted: yes\n";
  if (report.info.cluster_size != 0) {
    text += fmt::format("cluster_size: {}\n", report.info.cluster_size);
  }
  if (report.info.dirty) text += "cleanly shut down: no\n";
  append_backing(text, report);
  if (report.limits) append_limits(text, *report.limits);
  if (!report.info.snapshots.empty()) {
    text += "Snapshot list:\n";
    append_snapshot_table(text, report.info.snapshots);
  }
  append_specific(text, report.info, 0);
  append_children(text, report, {});
}

void append_specific(std::string& text, const ImageInfo& info, unsigned indent) {
  if (info.specific_type.empty()) return;
  text.append(indent, ' ').append("Format specific information:\n");
  append_tree(text, info.specific, indent + 4);
}

void append_snapshot_table(std::string& text, std::span<const SnapshotInfo> snapshots) {
  const auto row = [&text](const std::array<std::string, 6>& cells) {
    text += fmt::format("{:<7} {:<16} {:>8}{:>20}{:>16}{:>11}\n", cells[0], cells[1], cells[2],
                        cells[3], cells[4], cells[5]);
  };
  row({"ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT"});
  for (const SnapshotInfo& snapshot : snapshots) {
    row({snapshot.id, snapshot.name, human_size(snapshot.vm_state_size),
         date_text(snapshot.date_seconds), clock_text(snapshot.vm_clock_ns),
         snapshot.instruction_count ? std::to_string(*snapshot.instruction_count) : "--"});
  }
}

// The order of members is the peer's.
void write_report(JsonWriter& json, const ImageReport& report) {
  const ImageInfo& info = report.info;
  json.begin_object();
  write_lists(json, report);
  if (!info.backing_format.empty()) json.member("backing-filename-format", info.backing_format);
  json.member("virtual-size", report.virtual_size);
  json.member("filename", report.filename);
  if (info.cluster_size != 0) json.member("cluster-size", info.cluster_size);
  json.member("format", report.format);
  if (report.limits) write_limits(json, *report.limits);
  if (report.actual_size) json.member("actual-size", *report.actual_size);
  if (!info.specific_type.empty()) {
    json.key("format-specific");
    json.begin_object();
    json.member("type", info.specific_type);
    json.member("data", info.specific);
    json.end_object();
  }
  if (!report.full_backing_file.empty()) {
    json.member("full-backing-filename", report.full_backing_file);
  }
  if (info.encrypted) json.member("encrypted", true);
  if (info.compressed) json.member("compressed", true);
  if (!info.backing_file.empty()) json.member("backing-filename", info.backing_file);
  if (report.knows_dirty) json.member("dirty-flag", info.dirty);
  json.end_object();
}

}  // namespace ashlar::tools
