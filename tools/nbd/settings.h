// What the command line of the nbd tool asks for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ashlar/socket_address.h"
#include "tools/common/aio_mode.h"
#include "tools/common/arguments.h"
#include "tools/common/image_arguments.h"
#include "tools/common/snapshot_argument.h"

namespace ashlar::tools::nbd {

/// The options of the tool.
std::span<const OptionRow> option_rows();

struct Settings {
  enum class Mode : uint8_t { kServe, kList, kAttach, kDetach } mode = Mode::kServe;
  SocketAddress address;        ///< where to listen or to connect to
  std::string device;           ///< kAttach and kDetach: of the kernel
  std::string tls_credentials;  ///< ids of objects; empty: none
  std::string tls_authorization;
  std::string tls_hostname;

  // Serving.
  ImageRequest image;
  std::optional<AioMode> aio;
  enum class Overlay : uint8_t { kNone, kTemporary } overlay = Overlay::kNone;
  std::optional<SnapshotArgument> snapshot;
  uint64_t offset = 0;
  std::string export_name;
  std::string description;
  enum class Depth : uint8_t { kHidden, kShown } depth = Depth::kHidden;
  std::vector<std::string> bitmaps;
  unsigned max_connections = 1;  ///< 0: no limit
  unsigned handshake_seconds = 10;
  enum class End : uint8_t { kWithLastClient, kWhenStopped } end = End::kWithLastClient;
  enum class Process : uint8_t { kForeground, kForked } process = Process::kForeground;
  enum class Talk : uint8_t { kNormal, kVerbose } talk = Talk::kNormal;
  std::string pid_file;
  std::string selinux_label;
};

/// Reads and checks the command line. Complains; the error is the status to exit with.
std::expected<Settings, int> read_settings(Program& program, const Arguments& arguments);

}  // namespace ashlar::tools::nbd
