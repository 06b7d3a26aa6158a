// The peer's words for monitors.
#include "tools/storage_daemon/wording.h"

#include "tools/common/image_report.h"
#include "tools/common/json_writer.h"
#include "tools/common/peer_names.h"
#include "tools/common/peer_text.h"

namespace ashlar::tools {
namespace {

std::string error_text(const Error& error) {
  // What the tools notice later, a monitor's checks notice in the arguments.
  if (error.reason() == "file-name-missing") return "Parameter 'filename' is missing";
  return peer_text(error);
}

std::string image_text(const Node& node) {
  std::string text;
  JsonWriter json(text);
  write_report(json, describe_node(node));
  return text;
}

}  // namespace

monitor::Wording daemon_wording() {
  return {.error = error_text, .image = image_text, .file_name = shown_name};
}

}  // namespace ashlar::tools
