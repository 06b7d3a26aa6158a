// Edits of dirty bitmaps.
#include "monitor/bitmap_actions.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <ranges>

#include "base/checked.h"
#include "graph/graph_state.h"
#include "graph/node_bitmaps.h"
#include "monitor/errors.h"

namespace ashlar::monitor {
namespace {

using Bitmaps = WriteWatch::Bitmaps;
using Life = TrackedBitmap::Life;
using State = PersistentBitmap::State;

constexpr size_t kMaxName = 1023;
constexpr uint64_t kLeastGranularity = 512;
constexpr size_t kMostBitmaps = 65535;  // an image cannot have more

TrackedBitmap* find(Bitmaps& bitmaps, const std::string& name) {
  const auto found = std::ranges::find_if(
      bitmaps, [&name](const TrackedBitmap& each) { return each.bitmap.name == name; });
  return found == bitmaps.end() ? nullptr : &*found;
}

std::unexpected<Error> not_found(const std::string& name) {
  return refuse(fmt::format("Dirty bitmap '{}' not found", name), ErrorCode::kNotFound);
}

Result<void> check_usable(const TrackedBitmap& bitmap) {
  if (bitmap.bitmap.state != State::kInconsistent) return ok();
  return refuse(fmt::format("Bitmap '{}' is inconsistent and cannot be used", bitmap.bitmap.name));
}

Result<void> check_writable(const GraphNode& node, const TrackedBitmap& bitmap) {
  if (bitmap.life == Life::kTransient || !node.read_only()) return ok();
  return refuse(fmt::format("Bitmap '{}' is readonly and cannot be modified", bitmap.bitmap.name));
}

uint64_t default_granularity(const GraphNode& node) {
  const uint64_t cluster = node.info_ref().cluster_size;
  return cluster == 0 ? 64_KiB : std::clamp<uint64_t>(cluster, 4_KiB, 64_KiB);
}

Result<void> check_persistent(const GraphNode& node) {
  if (keeper_of(node) == nullptr) {
    return refuse(
        fmt::format("Can't store persistent bitmaps to {}: Operation not supported", node.name()),
        ErrorCode::kUnsupported);
  }
  if (!node.read_only()) return ok();
  return refuse(fmt::format("Can't store persistent bitmaps to {}: No write access", node.name()),
                ErrorCode::kReadOnly);
}

Result<uint64_t> granularity_of(const GraphNode& node, const JsonInput& data) {
  if (!data.contains("granularity")) return default_granularity(node);
  const uint64_t granularity = data["granularity"].get<uint64_t>();
  if (granularity > std::numeric_limits<uint32_t>::max()) {
    return refuse("Parameter 'granularity' expects uint32_t");
  }
  if (granularity >= kLeastGranularity && is_power_of_two(granularity)) return granularity;
  return refuse("Granularity must be power of 2 and at least 512");
}

Result<TrackedBitmap> new_bitmap(const GraphNode& node, const JsonInput& data) {
  TrackedBitmap added;
  added.bitmap.name = data["name"].get<std::string>();
  if (added.bitmap.name.empty()) return refuse("Bitmap name cannot be empty");
  if (added.bitmap.name.size() > kMaxName) {
    return refuse(fmt::format("Bitmap name too long: {}", added.bitmap.name));
  }
  const Result<uint64_t> granularity = granularity_of(node, data);
  if (!granularity) return fail(granularity.error());
  added.bitmap.granularity = *granularity;
  if (data.value("disabled", false)) added.bitmap.state = State::kDisabled;
  if (data.value("persistent", false)) {
    if (Result<void> possible = check_persistent(node); !possible) return fail(possible.error());
    added.life = Life::kPersistent;
  }
  return added;
}

/// Whether there is room for one more.
Result<void> check_room(const Bitmaps& bitmaps, const TrackedBitmap& added, uint64_t size) {
  uint64_t bytes = TrackedBitmap::bytes_for(size, added.bitmap.granularity);
  for (const TrackedBitmap& each : bitmaps) bytes += each.words.size() * sizeof(uint64_t);
  if (bytes <= TrackedBitmap::kMaxBytes && bitmaps.size() < kMostBitmaps) return ok();
  return refuse(fmt::format("The bitmaps of a node can have {} bytes, and bitmap '{}' would make "
                            "them {} bytes in {} bitmaps",
                            TrackedBitmap::kMaxBytes, added.bitmap.name, bytes, bitmaps.size() + 1),
                ErrorCode::kTooLarge);
}

/// What a merge takes: "name", or {"node", "name"}.
struct MergeSource {
  std::string node;
  std::string name;
};

std::vector<MergeSource> sources_of(const JsonInput& data) {
  std::vector<MergeSource> sources;
  const std::string node = data["node"].get<std::string>();
  for (const JsonInput& each : data["bitmaps"]) {
    if (each.is_string()) {
      sources.push_back({node, each.get<std::string>()});
    } else {
      sources.push_back({each["node"].get<std::string>(), each["name"].get<std::string>()});
    }
  }
  return sources;
}

Result<TrackedBitmap> copy_of(const Monitor& monitor, const MergeSource& source) {
  const Result<GraphNode*> node = find_medium(monitor, source.node);
  if (!node) return fail(node.error());
  return (*node)->watch().with_bitmaps([&source](Bitmaps& bitmaps) -> Result<TrackedBitmap> {
    const TrackedBitmap* found = find(bitmaps, source.name);
    if (found == nullptr) return not_found(source.name);
    if (Result<void> usable = check_usable(*found); !usable) return fail(usable.error());
    return *found;
  });
}

Result<void> merge_into(TrackedBitmap& target, const TrackedBitmap& source) {
  if (source.disk_size != target.disk_size) {
    return refuse(
        fmt::format("Bitmaps are of different sizes (destination size is {}, source size "
                    "is {}) and can't be merged",
                    target.disk_size, source.disk_size));
  }
  target.merge(source);
  return ok();
}

}  // namespace

Result<GraphNode*> find_medium(const Monitor& monitor, const std::string& name) {
  Node* node = nullptr;
  if (const BackendRef backend = monitor.graph().find_backend(name)) {
    node = backend->root();
    if (node == nullptr) {
      return refuse(fmt::format("Device '{}' has no medium", name), ErrorCode::kNoMedium);
    }
  } else {
    node = monitor.graph().find_node(name);
  }
  // Only graphs make nodes.
  if (node != nullptr) return static_cast<GraphNode*>(node);
  return refuse(fmt::format("Cannot find device='{0}' nor node-name='{0}'", name),
                ErrorCode::kNotFound);
}

BitmapEdits::~BitmapEdits() {
  for (Before& before : before_ | std::views::reverse) {
    auto& node = static_cast<GraphNode&>(*before.node);
    node.watch().with_bitmaps([&before](Bitmaps& bitmaps) { bitmaps = std::move(before.bitmaps); });
    node.watch().removed() = std::move(before.removed);
  }
}

Result<GraphNode*> BitmapEdits::edited(const JsonInput& data) {
  Result<GraphNode*> node = find_medium(monitor_, data["node"].get<std::string>());
  if (!node) return node;
  const bool known = std::ranges::any_of(
      before_, [&node](const Before& each) { return each.node.get() == *node; });
  if (!known) {
    WriteWatch& watch = (*node)->watch();
    before_.push_back({NodeRef(*node), watch.with_bitmaps([](const Bitmaps& all) { return all; }),
                       watch.removed()});
  }
  return node;
}

Result<void> BitmapEdits::add(const JsonInput& data) {
  const Result<GraphNode*> node = edited(data);
  if (!node) return fail(node.error());
  Result<TrackedBitmap> added = new_bitmap(**node, data);
  if (!added) return fail(added.error());
  const uint64_t size = (*node)->size();
  return (*node)->watch().with_bitmaps([&added, size](Bitmaps& bitmaps) -> Result<void> {
    if (find(bitmaps, added->bitmap.name) != nullptr) {
      return refuse(fmt::format("Bitmap already exists: {}", added->bitmap.name));
    }
    if (Result<void> room = check_room(bitmaps, *added, size); !room) return room;
    added->start(size);
    bitmaps.push_back(std::move(*added));
    return ok();
  });
}

Result<void> BitmapEdits::remove(const JsonInput& data) {
  const Result<GraphNode*> node = edited(data);
  if (!node) return fail(node.error());
  const std::string name = data["name"].get<std::string>();
  WriteWatch& watch = (*node)->watch();
  const Result<Life> life = watch.with_bitmaps([&](Bitmaps& bitmaps) -> Result<Life> {
    const TrackedBitmap* found = find(bitmaps, name);
    if (found == nullptr) return not_found(name);
    if (Result<void> may = check_writable(**node, *found); !may) return fail(may.error());
    const Life removed = found->life;
    bitmaps.erase(bitmaps.begin() + (found - bitmaps.data()));
    return removed;
  });
  if (!life) return fail(life.error());
  if (*life == Life::kPersistent) watch.removed().push_back(name);
  return ok();
}

Result<void> BitmapEdits::clear(const JsonInput& data) {
  const Result<GraphNode*> node = edited(data);
  if (!node) return fail(node.error());
  const std::string name = data["name"].get<std::string>();
  return (*node)->watch().with_bitmaps([&](Bitmaps& bitmaps) -> Result<void> {
    TrackedBitmap* found = find(bitmaps, name);
    if (found == nullptr) return not_found(name);
    Result<void> may = check_usable(*found);
    if (may) may = check_writable(**node, *found);
    if (may) found->clear();
    return may;
  });
}

Result<void> BitmapEdits::set_state(const JsonInput& data, State state) {
  const Result<GraphNode*> node = edited(data);
  if (!node) return fail(node.error());
  const std::string name = data["name"].get<std::string>();
  return (*node)->watch().with_bitmaps([&](Bitmaps& bitmaps) -> Result<void> {
    TrackedBitmap* found = find(bitmaps, name);
    if (found == nullptr) return not_found(name);
    Result<void> may = check_usable(*found);
    if (may) may = check_writable(**node, *found);
    if (may) found->bitmap.state = state;
    return may;
  });
}

Result<void> BitmapEdits::merge(const JsonInput& data) {
  const Result<GraphNode*> node = edited(data);
  if (!node) return fail(node.error());
  const std::string target = data["target"].get<std::string>();
  for (const MergeSource& source : sources_of(data)) {
    const Result<TrackedBitmap> from = copy_of(monitor_, source);
    if (!from) return fail(from.error());
    Result<void> merged = (*node)->watch().with_bitmaps([&](Bitmaps& bitmaps) -> Result<void> {
      TrackedBitmap* found = find(bitmaps, target);
      if (found == nullptr) return not_found(target);
      Result<void> may = check_usable(*found);
      if (may) may = check_writable(**node, *found);
      if (may) may = merge_into(*found, *from);
      return may;
    });
    if (!merged) return merged;
  }
  return ok();
}

Result<std::vector<GraphNode*>> nodes_of_bitmap_action(const Monitor& monitor,
                                                       const JsonInput& data) {
  std::vector<std::string> names{data["node"].get<std::string>()};
  if (data.contains("bitmaps")) {
    for (const MergeSource& source : sources_of(data)) names.push_back(source.node);
  }
  std::vector<GraphNode*> nodes;
  for (const std::string& name : names) {
    const Result<GraphNode*> node = find_medium(monitor, name);
    if (!node) return fail(node.error());
    nodes.push_back(*node);
  }
  return nodes;
}

Json bitmaps_info(GraphNode& node) {
  return node.watch().with_bitmaps([](const Bitmaps& bitmaps) {
    Json list = Json::array();
    for (const TrackedBitmap& each : bitmaps | std::views::reverse) {
      Json info = {{"name", each.bitmap.name},
                   {"recording", each.recording()},
                   {"persistent", each.life == Life::kPersistent},
                   {"busy", false},
                   {"granularity", each.bitmap.granularity},
                   {"count", each.dirty_bytes()}};
      if (each.bitmap.state == State::kInconsistent) info["inconsistent"] = true;
      list.push_back(std::move(info));
    }
    return list;
  });
}

Result<std::string> bitmap_digest(GraphNode& node, const std::string& name) {
  return node.watch().with_bitmaps([&name](Bitmaps& bitmaps) -> Result<std::string> {
    const TrackedBitmap* found = find(bitmaps, name);
    if (found == nullptr) return not_found(name);
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned length = 0;
    const bool done = EVP_Digest(found->words.data(), found->words.size() * sizeof(uint64_t),
                                 digest.data(), &length, EVP_sha256(), nullptr) == 1;
    if (!done) return refuse("The digest cannot be computed", ErrorCode::kNoMemory);
    std::string text;
    for (unsigned at = 0; at < length; ++at) text += fmt::format("{:02x}", digest[at]);
    return text;
  });
}

}  // namespace ashlar::monitor
