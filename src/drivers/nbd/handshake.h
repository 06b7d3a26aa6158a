// The client's side of the handshake of the NBD protocol.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ashlar/error.h"
#include "ashlar/stream.h"
#include "ashlar/task.h"
#include "async/tls.h"
#include "protocols/nbd_handshake.h"
#include "protocols/nbd_transmission.h"

namespace ashlar::nbd::client {

/// What a client asks for.
struct Wishes {
  std::string export_name;
  std::string context;  ///< metadata context for block status; empty: the allocation
  std::shared_ptr<const TlsCredentials> tls;  ///< none: plain text
  std::string tls_hostname;
  bool extended_headers = true;
  bool structured_replies = true;
};

/// What was agreed on.
struct Agreement {
  ExportSummary summary;
  std::optional<BlockSizes> sizes;  ///< when the server says
  std::optional<uint32_t> context;  ///< id of the metadata context
  Headers headers = Headers::kCompact;
  bool structured = false;  ///< replies come in chunks
  bool operator==(const Agreement&) const = default;

  bool can(uint16_t transmission_flag) const {
    return (summary.flags & transmission_flag) == transmission_flag;
  }
};

/// A connection that is ready for requests.
struct Established {
  Established() {}  // NOLINT(modernize-use-equals-default): no aggregate, see ByteRange
  std::unique_ptr<Stream> stream;
  Agreement agreement;
};

/// Most data of one reply to an option; more is refused.
inline constexpr uint32_t kMaxReplyData = 64 << 10;
/// Most replies to one option.
inline constexpr unsigned kMaxReplies = 1000;

/// From the greeting to the first request. With TLS nothing but the request for it is sent in plain
/// text, and what came in plain text does not count afterwards.
/// Errors: kNotFound (reason "nbd-export" {name}), kPermission ("nbd-tls-required",
/// "nbd-tls-refused", "tls-handshake"), kUnsupported ("nbd-context" {name}), kCorrupt
/// ("nbd-malformed"), kIo ("nbd-refused" {message}), kClosed and kIo from below.
Task<Result<Established>> shake_hands(std::unique_ptr<Stream> stream, Wishes wishes);

}  // namespace ashlar::nbd::client
