// What bounds a client of the NBD server. Every queue and buffer that a client fills has its limit
// here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ashlar/bytes.h"
#include "protocols/nbd.h"

namespace ashlar::nbd {

/// Largest data of one read or write.
inline constexpr uint64_t kMaxPayload = kDefaultMaxPayload;

/// Options with more data than this are answered without being looked at ...
inline constexpr size_t kMaxOptionData = 128_KiB;
/// ... and with more than this end the connection.
inline constexpr size_t kMaxSkippedData = kDefaultMaxPayload;

/// Requests of one connection that are under way, and the memory they use. A single request may
/// use more than that memory when it is alone.
inline constexpr unsigned kMaxRequests = 128;
inline constexpr uint64_t kMaxRequestBytes = 64_MiB;

/// Where requests are received. Data of writes that does not come whole goes to its own buffer.
inline constexpr size_t kReceiveBuffer = 128_KiB;

/// Longer reads are answered in chunks of at most kReadPiece when the client understands chunks,
/// and what is known to be zero is not read. Working buffers of that size stay in the CPU's cache.
inline constexpr uint64_t kChunkedRead = 64_KiB;
inline constexpr uint64_t kReadPiece = 256_KiB;

/// Extents in one answer about the block status; clients ask again for the rest.
inline constexpr size_t kMaxExtents = 8192;

/// Payload of a request for the block status: numbers of contexts.
inline constexpr uint64_t kMaxFilter = 4_KiB;

/// Replies that are sent together.
inline constexpr size_t kMaxBatch = 128;

/// Free memory that a loop keeps for the next requests.
inline constexpr size_t kKeptBytes = 4_MiB;

/// How long requests under way may take to be answered when the server ends a connection.
inline constexpr uint64_t kFarewellNs = 1'000'000'000;

}  // namespace ashlar::nbd
