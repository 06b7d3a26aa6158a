// The NBD protocol: its numbers. https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
// Messages are in nbd_handshake.h and nbd_transmission.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ashlar/bytes.h"
#include "ashlar/error.h"

namespace ashlar::nbd {

inline constexpr std::string_view kDefaultPort = "10809";

// Handshake.
inline constexpr uint64_t kInitMagic = 0x4e42444d41474943;    ///< "NBDMAGIC"
inline constexpr uint64_t kOptionMagic = 0x49484156454f5054;  ///< "IHAVEOPT"
inline constexpr uint64_t kOldStyleMagic = 0x0000420281861253;
inline constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;

// Transmission.
inline constexpr uint32_t kRequestMagic = 0x25609513;
inline constexpr uint32_t kExtendedRequestMagic = 0x21e41c71;
inline constexpr uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr uint32_t kChunkMagic = 0x668e33ef;
inline constexpr uint32_t kExtendedReplyMagic = 0x6e8a278c;

/// Longest string that the protocol allows.
inline constexpr size_t kMaxString = 4096;
/// What both sides may assume of each other's largest payload when nobody says anything.
inline constexpr uint32_t kDefaultMaxPayload = 32 << 20;

/// Of the server's greeting.
namespace handshake_flag {
inline constexpr uint16_t kFixedNewStyle = 1 << 0;
inline constexpr uint16_t kNoZeroes = 1 << 1;
}  // namespace handshake_flag

/// Of the client's answer to it.
namespace client_flag {
inline constexpr uint32_t kFixedNewStyle = 1 << 0;
inline constexpr uint32_t kNoZeroes = 1 << 1;
}  // namespace client_flag

/// What an export can do.
namespace transmission_flag {
inline constexpr uint16_t kHasFlags = 1 << 0;
inline constexpr uint16_t kReadOnly = 1 << 1;
inline constexpr uint16_t kFlush = 1 << 2;
inline constexpr uint16_t kFua = 1 << 3;
inline constexpr uint16_t kRotational = 1 << 4;
inline constexpr uint16_t kTrim = 1 << 5;
inline constexpr uint16_t kWriteZeroes = 1 << 6;
inline constexpr uint16_t kDontFragment = 1 << 7;
inline constexpr uint16_t kMultiConn = 1 << 8;
inline constexpr uint16_t kResize = 1 << 9;
inline constexpr uint16_t kCache = 1 << 10;
inline constexpr uint16_t kFastZero = 1 << 11;
inline constexpr uint16_t kBlockStatusPayload = 1 << 12;
}  // namespace transmission_flag

namespace command_flag {
inline constexpr uint16_t kFua = 1 << 0;
inline constexpr uint16_t kNoHole = 1 << 1;
inline constexpr uint16_t kDontFragment = 1 << 2;
inline constexpr uint16_t kOneExtent = 1 << 3;
inline constexpr uint16_t kFastZero = 1 << 4;
inline constexpr uint16_t kPayloadLength = 1 << 5;
}  // namespace command_flag

/// Of a structured or extended reply.
inline constexpr uint16_t kChunkDone = 1 << 0;

/// Of extents in the context "base:allocation".
inline constexpr uint64_t kStateHole = 1 << 0;
inline constexpr uint64_t kStateZero = 1 << 1;
/// Of extents in contexts "qemu:dirty-bitmap:...".
inline constexpr uint64_t kStateDirty = 1 << 0;
inline constexpr std::string_view kAllocationContext = "base:allocation";

enum class Option : uint32_t {
  kExportName = 1,
  kAbort = 2,
  kList = 3,
  kPeekExport = 4,
  kStartTls = 5,
  kInfo = 6,
  kGo = 7,
  kStructuredReply = 8,
  kListMetaContext = 9,
  kSetMetaContext = 10,
  kExtendedHeaders = 11,
};

enum class OptionReply : uint32_t {
  kAck = 1,
  kServer = 2,
  kInfo = 3,
  kMetaContext = 4,
  kErrorUnsupported = 0x80000001,
  kErrorPolicy = 0x80000002,
  kErrorInvalid = 0x80000003,
  kErrorPlatform = 0x80000004,
  kErrorTlsRequired = 0x80000005,
  kErrorUnknown = 0x80000006,
  kErrorShutdown = 0x80000007,
  kErrorBlockSizeRequired = 0x80000008,
  kErrorTooBig = 0x80000009,
  kErrorExtendedHeadersRequired = 0x8000000a,
};
constexpr bool is_error(OptionReply reply) { return static_cast<uint32_t>(reply) >> 31 != 0; }

enum class Info : uint16_t { kExport = 0, kName = 1, kDescription = 2, kBlockSize = 3 };

enum class Command : uint16_t {
  kRead = 0,
  kWrite = 1,
  kDisconnect = 2,
  kFlush = 3,
  kTrim = 4,
  kCache = 5,
  kWriteZeroes = 6,
  kBlockStatus = 7,
  kResize = 8,
};

enum class ChunkType : uint16_t {
  kNone = 0,
  kOffsetData = 1,
  kOffsetHole = 2,
  kBlockStatus = 5,
  kBlockStatusExtended = 6,
  kError = 0x8001,
  kErrorOffset = 0x8002,
};
/// Also of types that nobody knows: they end in an error all the same.
constexpr bool is_error(ChunkType type) { return static_cast<uint16_t>(type) >> 15 != 0; }

/// Error numbers on the wire; those of Linux.
enum class WireError : uint32_t {
  kNone = 0,
  kPermission = 1,
  kIo = 5,
  kNoMemory = 12,
  kInvalid = 22,
  kNoSpace = 28,
  kOverflow = 75,
  kUnsupported = 95,
  kShutdown = 108,
};

/// What the other side is told.
WireError to_wire(const Error& error);
/// `doing: what went wrong there`; numbers that nobody knows count as an I/O error. `message` is
/// the other side's own text; may be empty. Reason "nbd-server-error" {number, message}.
Error from_wire(WireError error, std::string_view doing, std::string_view message = {});

}  // namespace ashlar::nbd
