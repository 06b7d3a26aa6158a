// Options of the nbd tool: the table, and what each means.
#include "tools/nbd/settings.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "protocols/nbd.h"
#include "tools/nbd/activation.h"

namespace ashlar::tools::nbd {
namespace {

constexpr OptionRow kPort{
    .name = "port", .letter = 'p', .value = "PORT", .help = "TCP port; default: 10809"};
constexpr OptionRow kBind{
    .name = "bind", .letter = 'b', .value = "ADDRESS", .help = "TCP address; default: 0.0.0.0"};
constexpr OptionRow kSocket{
    .name = "socket", .letter = 'k', .value = "PATH", .help = "unix socket rather than TCP"};
constexpr OptionRow kShared{
    .name = "shared", .letter = 'e', .value = "NUM", .help = "clients at a time; 0: any number"};
constexpr OptionRow kPersistent{
    .name = "persistent", .letter = 't', .help = "go on when the last client has left"};
constexpr OptionRow kVerbose{
    .name = "verbose", .letter = 'v', .help = "keep stderr, and say more there"};
constexpr OptionRow kExportName{
    .name = "export-name", .letter = 'x', .value = "NAME", .help = "name of the export"};
constexpr OptionRow kDescription{
    .name = "description", .letter = 'D', .value = "TEXT", .help = "text for people"};
constexpr OptionRow kOffset{
    .name = "offset", .letter = 'o', .value = "OFFSET", .help = "leave out the front of the disk"};
constexpr OptionRow kDepth{
    .name = "allocation-depth", .letter = 'A', .help = "offer the context qemu:allocation-depth"};
constexpr OptionRow kBitmap{
    .name = "bitmap", .letter = 'B', .value = "NAME", .help = "offer a dirty bitmap; repeatable"};
constexpr OptionRow kList{
    .name = "list", .letter = 'L', .help = "list the exports of another server"};
constexpr OptionRow kTlsCreds{
    .name = "tls-creds", .value = "ID", .help = "encrypt with the credentials of that object"};
constexpr OptionRow kTlsAuthz{
    .name = "tls-authz", .value = "ID", .help = "let in whom that object permits"};
constexpr OptionRow kTlsHostname{
    .name = "tls-hostname", .value = "NAME", .help = "what the other server must prove to be"};
constexpr OptionRow kTrace{
    .name = "trace", .letter = 'T', .value = "EVENTS", .help = "this build has no events"};
constexpr OptionRow kFork{.name = "fork", .help = "return when the server is ready"};
constexpr OptionRow kPidFile{
    .name = "pid-file", .value = "PATH", .help = "write the server's process id there"};
constexpr OptionRow kSelinux{
    .name = "selinux-label", .value = "LABEL", .help = "label of the socket"};
constexpr OptionRow kHandshake{
    .name = "handshake-limit", .value = "SECONDS", .help = "time for handshakes; default: 10"};
constexpr OptionRow kConnect{.name = "connect",
                             .letter = 'c',
                             .value = "DEVICE",
                             .help = "attach to the kernel's /dev/nbdN"};
constexpr OptionRow kDisconnect{
    .name = "disconnect", .letter = 'd', .help = "detach the kernel's device, the operand"};
constexpr OptionRow kReadOnly{.name = "read-only", .letter = 'r', .help = "refuse writes"};
constexpr OptionRow kSnapshot{
    .name = "snapshot", .letter = 's', .help = "write to a temporary overlay, dropped at the end"};
constexpr OptionRow kLoadSnapshot{.name = "load-snapshot",
                                  .letter = 'l',
                                  .value = "SNAPSHOT",
                                  .help =
                                      "serve that internal snapshot, read-only: an ID, a name, "
                                      "or snapshot.id=ID,snapshot.name=NAME"};
constexpr OptionRow kNoCache{
    .name = "nocache", .letter = 'n', .help = "bypass the host's cache: --cache=none"};
constexpr OptionRow kCache{
    .name = "cache", .value = "MODE", .help = "cache mode; default: writeback"};
constexpr OptionRow kAio{
    .name = "aio", .value = "MODE", .help = "how files are reached: threads, native or io_uring"};
constexpr OptionRow kDiscard{
    .name = "discard", .value = "MODE", .help = "ignore (default) or unmap"};
constexpr OptionRow kDetectZeroes{
    .name = "detect-zeroes", .value = "MODE", .help = "off (default), on or unmap"};
constexpr OptionRow kVersion{.name = "version", .letter = 'V', .help = "show the version"};

constexpr OptionRow kRows[] = {
    kPort,        kBind,         kSocket,   kShared,      kPersistent, kVerbose,      kExportName,
    kDescription, kOffset,       kDepth,    kBitmap,      kFormatRow,  kImageOptsRow, kReadOnly,
    kSnapshot,    kLoadSnapshot, kNoCache,  kCache,       kAio,        kDiscard,      kDetectZeroes,
    kList,        kTlsCreds,     kTlsAuthz, kTlsHostname, kObjectRow,  kUntrustedRow, kTrace,
    kFork,        kPidFile,      kSelinux,  kHandshake,   kConnect,    kDisconnect,   kVersion};

/// Options that say how a device is served: a listing has none.
constexpr std::array kOfDevice{kExportName, kDescription,  kOffset,  kBitmap,  kDepth,
                               kSnapshot,   kLoadSnapshot, kNoCache, kCache,   kAio,
                               kDiscard,    kDetectZeroes, kShared,  kConnect, kDisconnect,
                               kFork,       kPidFile};

std::optional<unsigned> whole_number(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

class Reader {
 public:
  Reader(Program& program, const Arguments& arguments) : program_(program), arguments_(arguments) {}

  std::expected<Settings, int> read() {
    if (arguments_.has(kTrace.name)) program_.warning("this build has no trace events");
    if (arguments_.has(kList.name)) {
      settings_.mode = Settings::Mode::kList;
    } else if (arguments_.has(kDisconnect.name)) {
      settings_.mode = Settings::Mode::kDetach;
    }
    const bool good = read_texts() && read_image_options() && read_numbers() && read_tls() &&
                      read_mode() && read_address();
    if (!good) return std::unexpected(kFailure);
    return std::move(settings_);
  }

 private:
  bool complain(std::string_view message) {
    program_.error(message);
    return false;
  }
  std::string text_of(const OptionRow& row) const {
    return std::string(arguments_.value(row.name).value_or(""));
  }
  bool once(const OptionRow& row) {
    if (arguments_.values(row.name).size() <= 1) return true;
    return complain(fmt::format("--{} can only be specified once", row.name));
  }

  bool read_texts() {
    settings_.export_name = text_of(kExportName);
    if (settings_.export_name.size() > ashlar::nbd::kMaxString) {
      return complain(fmt::format("export name '{}' too long", settings_.export_name));
    }
    settings_.description = text_of(kDescription);
    if (settings_.description.size() > ashlar::nbd::kMaxString) {
      return complain(fmt::format("export description '{}' too long", settings_.description));
    }
    settings_.pid_file = text_of(kPidFile);
    settings_.selinux_label = text_of(kSelinux);
    if (!settings_.selinux_label.empty()) {
      return complain("SELinux support not enabled in this binary");
    }
    for (const std::string_view name : arguments_.values(kBitmap.name)) {
      settings_.bitmaps.emplace_back(name);
    }
    if (arguments_.has(kDepth.name)) settings_.depth = Settings::Depth::kShown;
    if (arguments_.has(kPersistent.name)) settings_.end = Settings::End::kWhenStopped;
    if (arguments_.has(kVerbose.name)) settings_.talk = Settings::Talk::kVerbose;
    if (arguments_.has(kFork.name)) settings_.process = Settings::Process::kForked;
    return true;
  }

  bool read_cache() {
    const size_t given =
        arguments_.values(kNoCache.name).size() + arguments_.values(kCache.name).size();
    if (given > 1) return complain("-n and --cache can only be specified once");
    if (given == 0) return true;
    const std::string mode = arguments_.has(kNoCache.name) ? "none" : text_of(kCache);
    const std::optional<CacheMode> parsed = parse_cache_mode(mode);
    if (!parsed) return complain(fmt::format("Invalid cache mode `{}'", mode));
    parsed->apply_to(settings_.image.flags);
    settings_.image.write_cache = parsed->write_cache;
    return true;
  }

  bool read_aio() {
    if (!once(kAio)) return false;
    const auto mode = arguments_.value(kAio.name);
    if (!mode) return true;
    settings_.aio = parse_aio_mode(*mode);
    if (!settings_.aio) return complain(fmt::format("Invalid aio mode '{}'", *mode));
    return true;
  }

  bool read_discard() {
    if (!once(kDiscard)) return false;
    const auto mode = arguments_.value(kDiscard.name);
    if (!mode) return true;
    const bool unmap = *mode == "unmap" || *mode == "on";
    if (!unmap && *mode != "ignore" && *mode != "off") {
      return complain(fmt::format("Invalid discard mode `{}'", *mode));
    }
    if (unmap) settings_.image.flags.discard = OpenFlags::Discard::kUnmap;
    return true;
  }

  bool read_detect_zeroes() {
    using enum OpenFlags::DetectZeroes;
    const auto mode = arguments_.value(kDetectZeroes.name);
    OpenFlags& flags = settings_.image.flags;
    if (!mode || *mode == "off") return true;
    if (*mode != "on" && *mode != "unmap") {
      return complain(
          fmt::format("Failed to parse detect_zeroes mode: invalid parameter value: {}", *mode));
    }
    flags.detect_zeroes = *mode == "on" ? kOn : kUnmap;
    if (flags.detect_zeroes == kUnmap && flags.discard != OpenFlags::Discard::kUnmap) {
      return complain(
          "setting detect-zeroes to unmap is not allowed without setting discard operation to "
          "unmap");
    }
    return true;
  }

  bool read_image_options() {
    if (!read_cache() || !read_aio() || !read_discard() || !read_detect_zeroes()) return false;
    if (arguments_.has(kImageOptsRow.name)) {
      if (arguments_.has(kFormatRow.name)) {
        return complain("--image-opts and -f are mutually exclusive");
      }
      settings_.image.syntax = ImageRequest::Syntax::kOptions;
    }
    if (const auto format = arguments_.value(kFormatRow.name)) settings_.image.format = *format;
    settings_.image.flags.read_only = arguments_.has(kReadOnly.name);
    if (arguments_.has(kSnapshot.name)) settings_.overlay = Settings::Overlay::kTemporary;
    if (const auto text = arguments_.value(kLoadSnapshot.name)) {
      settings_.snapshot = snapshot_argument(program_, *text);
      if (!settings_.snapshot) return false;
      settings_.image.flags.read_only = true;
    }
    return true;
  }

  bool read_numbers() {
    if (const auto text = arguments_.value(kShared.name)) {
      const std::optional<unsigned> number = whole_number(*text);
      if (!number) return complain(fmt::format("Invalid shared device number '{}'", *text));
      settings_.max_connections = *number;
    }
    if (const auto text = arguments_.value(kHandshake.name)) {
      const std::optional<unsigned> number = whole_number(*text);
      if (!number) return complain(fmt::format("Invalid handshake limit '{}'", *text));
      settings_.handshake_seconds = *number;
    }
    if (const auto text = arguments_.value(kOffset.name)) {
      const Result<uint64_t> offset = parse_size(*text);
      if (!offset) return complain(fmt::format("Invalid offset '{}'", *text));
      settings_.offset = *offset;
    }
    return true;
  }

  bool read_tls() {
    settings_.tls_credentials = text_of(kTlsCreds);
    settings_.tls_authorization = text_of(kTlsAuthz);
    settings_.tls_hostname = text_of(kTlsHostname);
    const bool listing = settings_.mode == Settings::Mode::kList;
    if (settings_.tls_credentials.empty()) {
      if (!settings_.tls_authorization.empty()) {
        return complain("--tls-authz is not permitted without --tls-creds");
      }
      if (!settings_.tls_hostname.empty()) {
        return complain("--tls-hostname is not permitted without --tls-creds");
      }
      return true;
    }
    if (arguments_.has(kConnect.name)) {
      return complain("TLS is not supported with a host device");
    }
    if (listing && !settings_.tls_authorization.empty()) {
      return complain("TLS authorization is incompatible with export list");
    }
    if (!listing && !settings_.tls_hostname.empty()) {
      return complain("TLS hostname is only supported with export list");
    }
    return true;
  }

  bool too_many_or_few() {
    program_.error("Invalid number of arguments");
    program_.note(fmt::format("Try `{} --help' for more information.", program_.path()));
    return false;
  }

  bool read_mode() {
    const auto operands = arguments_.operands();
    if (settings_.mode == Settings::Mode::kList) {
      if (!operands.empty()) return complain("List mode is incompatible with a file name");
      for (const OptionRow& row : kOfDevice) {
        if (arguments_.has(row.name)) {
          return complain("List mode is incompatible with per-device settings");
        }
      }
      return true;
    }
    if (operands.size() != 1) return too_many_or_few();
    if (settings_.mode == Settings::Mode::kDetach) {
      settings_.device = operands[0];
      return true;
    }
    settings_.image.name = operands[0];
    if (const auto device = arguments_.value(kConnect.name)) {
      settings_.mode = Settings::Mode::kAttach;
      settings_.device = *device;
    }
    return true;
  }

  /// The socket that whoever started this process has opened for it.
  bool read_activation(const SocketAddress& given) {
    if (arguments_.has(kSocket.name)) {
      return complain("Unix socket can't be set when using socket activation");
    }
    if (arguments_.has(kPort.name)) {
      return complain("TCP port number can't be set when using socket activation");
    }
    if (arguments_.has(kBind.name)) {
      return complain("The interface can't be set when using socket activation");
    }
    if (settings_.mode == Settings::Mode::kAttach) {
      return complain("NBD device can't be set when using socket activation");
    }
    settings_.address = given;
    return true;
  }

  bool read_address() {
    if (settings_.mode != Settings::Mode::kList) {
      const Result<std::optional<SocketAddress>> given = activation_socket();
      if (!given) return complain(given.error().message());
      if (*given) return read_activation(**given);
    }
    std::string path = text_of(kSocket);
    if (arguments_.has(kSocket.name) && !path.starts_with('/')) {
      return complain("socket path must be absolute");
    }
    if (path.empty() && settings_.mode == Settings::Mode::kAttach) {
      const std::string& device = settings_.device;
      path = "/var/lock/qemu-nbd-" + device.substr(device.find_last_of('/') + 1);
    }
    if (!path.empty()) {
      settings_.address = SocketAddress::unix_socket(path);
    } else {
      settings_.address = SocketAddress::inet(
          std::string(arguments_.value(kBind.name).value_or("0.0.0.0")),
          std::string(arguments_.value(kPort.name).value_or(ashlar::nbd::kDefaultPort)));
    }
    return true;
  }

  Program& program_;
  const Arguments& arguments_;
  Settings settings_;
};

}  // namespace

std::span<const OptionRow> option_rows() { return kRows; }

std::expected<Settings, int> read_settings(Program& program, const Arguments& arguments) {
  return Reader(program, arguments).read();
}

}  // namespace ashlar::tools::nbd
