// Commands for people that show something.
#include <fmt/format.h>

#include "ashlar/version.h"
#include "monitor/graph_view.h"
#include "tools/common/size_text.h"
#include "tools/storage_daemon/human_session.h"

namespace ashlar::tools {
namespace {

using monitor::Monitor;
using Words = std::vector<std::string>;

std::string cache_words(const OpenFlags& flags) {
  if (flags.cache_no_flush) return "writeback, ignore flushes";
  return flags.cache_direct ? "writeback, direct" : "writeback";
}

std::string describe_medium(const Monitor& monitor, const Node& node) {
  std::string text = fmt::format("{} ({}{}{})", monitor.wording().file_name(node), node.spec().name,
                                 node.flags().read_only ? ", read-only" : "", "");
  text += fmt::format("\n    Cache mode:       {}\n", cache_words(node.flags()));
  text += fmt::format("    Size:             {}\n", size_with_bytes(node.size()));
  if (const Node* backing = node.backing()) {
    text += fmt::format("    Backing file:     {}\n", monitor.wording().file_name(*backing));
  }
  return text;
}

std::string describe_backend(Monitor& monitor, const std::string& id) {
  const Monitor::BackendRecord& record = *monitor.find_backend(id);
  const Node* root = record.backend->root();
  std::string text = root == nullptr ? fmt::format("{}: [not inserted]\n", id)
                                     : fmt::format("{} ({}): {}", id, root->name(),
                                                   describe_medium(monitor, *root));
  if (const DeviceCallbacks* device = record.backend->device()) {
    text += fmt::format("    Attached to:      {}\n", device->describe());
  }
  text += fmt::format("    Removable device: {}removable\n", record.removable ? "" : "not ");
  return text;
}

Task<std::string> info_block(Monitor& monitor, Words words) {
  std::string text;
  for (const std::string& id : monitor.backend_names()) {
    if (!words.empty() && words[0] != id) continue;
    if (!text.empty()) text += '\n';
    text += describe_backend(monitor, id);
  }
  if (text.empty() && !words.empty()) {
    text = fmt::format("Error: Device '{}' not found\n", words[0]);
  }
  co_return text;
}

Task<std::string> info_nodes(Monitor& monitor, Words) {
  std::string text;
  for (const Node* node : monitor.graph().nodes()) {
    text += fmt::format("{}: {}", node->name(), describe_medium(monitor, *node));
  }
  co_return text;
}

std::string permission_text(Permissions permissions) {
  return permissions.empty() ? "nothing" : permissions.describe();
}

Task<std::string> info_graph(Monitor& monitor, Words words) {
  const monitor::GraphView view = monitor::view_graph(monitor.graph());
  const std::string form = words.empty() ? "text" : words[0];
  if (form == "dot") co_return to_dot(view);
  if (form == "svg") co_return to_svg(view);
  std::string text;
  const auto name_of = [&view](size_t index) {
    const monitor::GraphView::Item& item = view.items[index];
    if (!item.name.empty()) return item.name;
    return item.detail.empty() ? std::string("(anonymous)") : item.detail;
  };
  for (size_t index = 0; index < view.items.size(); ++index) {
    const bool node = view.items[index].kind == monitor::GraphView::Item::Kind::kNode;
    text += fmt::format("{} {}\n", node ? view.items[index].detail : "backend", name_of(index));
    for (const monitor::GraphView::Link& link : view.links) {
      if (link.parent != index) continue;
      text += fmt::format("    {} -> {} (uses {})\n", link.name, name_of(link.child),
                          permission_text(link.used));
    }
  }
  co_return text;
}

Task<std::string> info_stats(Monitor& monitor, Words) {
  std::string text;
  for (const std::string& id : monitor.backend_names()) {
    const BackendStatistics counted = monitor.find_backend(id)->backend->statistics();
    text += fmt::format(
        "{}: rd_bytes={} wr_bytes={} rd_operations={} wr_operations={} flush_operations={} "
        "failed_rd_operations={} failed_wr_operations={}\n",
        id, counted.read_bytes, counted.written_bytes, counted.reads,
        counted.writes + counted.zero_writes, counted.flushes, counted.failed_reads,
        counted.failed_writes);
  }
  co_return text;
}

Task<std::string> info_exports(Monitor& monitor, Words) {
  std::string text;
  for (const ExportRegistry::Listed& each : monitor.exports().list()) {
    const std::string& backend = each.backend->name();
    text += fmt::format(
        "{}: type={} {}={}{}\n", each.id, each.type, backend.empty() ? "node" : "backend",
        backend.empty() ? each.node_name : backend, each.shutting_down ? " (shutting down)" : "");
  }
  co_return text;
}

Task<std::string> info_jobs(Monitor& monitor, Words) {
  std::string text;
  for (const monitor::Jobs::Listed& job : monitor.jobs().list()) {
    text += fmt::format("{}: type={} status={}{}{}\n", job.id, job.type, job.status,
                        job.error.empty() ? "" : " error=", job.error);
  }
  co_return text.empty() ? std::string("No active jobs\n") : text;
}

Task<std::string> info_version(Monitor&, Words) { co_return fmt::format("{}\n", version()); }

constexpr HumanCommand kCommands[] = {
    {"info block", "[ID]", "backends and their media", {0, 1}, info_block},
    {"info named-block-nodes", "", "all nodes", {0, 0}, info_nodes},
    {"info block-graph", "[dot|svg]", "who uses what", {0, 1}, info_graph},
    {"info blockstats", "", "counters of backends", {0, 0}, info_stats},
    {"info block-exports", "", "the exports that run", {0, 0}, info_exports},
    {"info jobs", "", "jobs", {0, 0}, info_jobs},
    {"info version", "", "the version", {0, 0}, info_version},
};

}  // namespace

std::span<const HumanCommand> human_info_commands() { return kCommands; }

}  // namespace ashlar::tools
