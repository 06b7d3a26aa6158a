// The options that name an image and say how to open it, and the opening itself.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ashlar/backend.h"
#include "ashlar/graph.h"
#include "ashlar/node.h"
#include "tools/common/arguments.h"
#include "tools/common/cache_mode.h"
#include "tools/common/session.h"

namespace ashlar::tools {

// Rows that many commands have.
inline constexpr OptionRow kFormatRow{
    .name = "format", .letter = 'f', .value = "FMT", .help = "format of the image; default: probe"};
inline constexpr OptionRow kImageOptsRow{.name = "image-opts",
                                         .help = "treat FILE as options: key=value,..."};
inline constexpr OptionRow kForceShareRow{
    .name = "force-share", .letter = 'U', .help = "take no locks: others may be writing"};
inline constexpr OptionRow kQuietRow{
    .name = "quiet", .letter = 'q', .help = "print nothing but errors"};
inline constexpr OptionRow kProgressRow{.name = "progress", .letter = 'p', .help = "show progress"};
inline constexpr OptionRow kObjectRow{
    .name = "object", .value = "OBJECT", .help = "define an object, e.g. secret,id=ID,file=NAME"};
inline constexpr OptionRow kOutputRow{
    .name = "output", .value = "FORM", .help = "human (default) or json"};
inline constexpr OptionRow kUntrustedRow{
    .name = "untrusted", .help = "open no file that an image names (backing, data file)"};

/// A session for a command with kObjectRow and kUntrustedRow, its objects created. Complains and
/// is empty when one is wrong; `--object help` ends so, too, with `status` set to success.
struct StartedSession {
  std::unique_ptr<Session> session;
  int status = kFailure;
};
StartedSession start_session(Program& program, const Arguments& arguments,
                             const RuntimeOptions& runtime = {});

/// Which image to open, and how.
struct ImageRequest {
  std::string name;                   ///< as the user wrote it; messages quote it
  std::optional<std::string> format;  ///< empty: probe
  enum class Syntax : uint8_t { kFileName, kOptions } syntax = Syntax::kFileName;
  OptionDict options;  ///< further ones, of the image's format
  OpenFlags flags;
  Backend::WriteCache write_cache = Backend::WriteCache::kBack;
};

/// The request that -f, --image-opts and -U make of `name`; read-only. Complains about
/// contradictions.
std::optional<ImageRequest> image_request(Program& program, const Arguments& arguments,
                                          std::string_view name);

/// Sets the cache mode of `request`, or complains about `what` ("cache", "source cache").
bool set_cache_mode(Program& program, ImageRequest& request, std::string_view mode,
                    std::string_view what);

/// Opens an image. Complains as `Could not open 'NAME': REASON`, and warns of a writable image
/// that was probed as raw.
std::optional<NodeRef> open_node(Session& session, const ImageRequest& request);

/// open_node() without complaint.
Result<NodeRef> try_open_node(Session& session, const ImageRequest& request);

/// Opens an image in an anonymous backend that uses `used` and shares everything.
BackendRef open_backend(Session& session, const ImageRequest& request, Permissions used);

/// Prints `Could not open 'NAME': REASON`.
void complain_of_open(const Program& program, std::string_view name, const Error& error);

/// --output: complains about other values than human and json.
enum class OutputForm : uint8_t { kHuman, kJson };
std::optional<OutputForm> output_form(Program& program, const Arguments& arguments);

}  // namespace ashlar::tools
