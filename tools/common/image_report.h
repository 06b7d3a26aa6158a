// What an image says about itself, as text for people and as JSON.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ashlar/image_info.h"
#include "ashlar/node.h"
#include "tools/common/json_writer.h"

namespace ashlar::tools {

/// Sizes of requests that a node takes.
struct LimitsReport {
  uint64_t request_alignment = 1;
  uint64_t max_transfer = 0;  ///< 0: none
  uint64_t memory_alignment = 1;
};

struct ChildReport;

/// All that info shows of one image.
struct ImageReport {
  std::string filename;
  std::string format;
  NodeKind kind = NodeKind::kFormat;
  uint64_t virtual_size = 0;
  std::optional<uint64_t> actual_size;
  ImageInfo info;
  std::string full_backing_file;  ///< the backing file's name, resolved; empty: none
  bool knows_dirty = true;        ///< plain bytes behind a server cannot say whether they are
  std::optional<LimitsReport> limits;
  std::vector<ChildReport> children;  ///< but for the backing image
};

/// An image that another one uses, and as what.
struct ChildReport {
  std::string edge;
  ImageReport image;
};

/// Describes an opened node. `limits` is left empty.
ImageReport describe_node(const Node& node);

/// Bytes that a node and what holds its data occupy; empty when that is unknown.
std::optional<uint64_t> actual_size(const Node& node);

void append_report(std::string& text, const ImageReport& report);
void write_report(JsonWriter& json, const ImageReport& report);

/// The "Format specific information:" section; nothing when there is none. `indent` in blanks.
void append_specific(std::string& text, const ImageInfo& info, unsigned indent);

/// Heading and one line per snapshot.
void append_snapshot_table(std::string& text, std::span<const SnapshotInfo> snapshots);

}  // namespace ashlar::tools
