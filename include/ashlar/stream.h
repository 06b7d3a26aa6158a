// Byte streams between a frontend or driver and the other side: sockets, TLS over them, pipes.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/socket_address.h"
#include "ashlar/task.h"

namespace ashlar {

/// A connection. Used from one loop at a time; one read and one write may be in flight together.
/// Nothing may be in flight when it is destroyed; that closes it.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Reads what there is, at least one byte; 0 when the other side has closed.
  /// Errors: kClosed after shut_down(), kIo.
  virtual Task<Result<size_t>> read_some(MutableBuffers into) = 0;
  /// Writes all of `from`.
  virtual Task<Result<void>> write_all(ConstBuffers from) = 0;
  /// Ends reads and writes that are in flight and all later ones. From the stream's loop.
  virtual void shut_down() noexcept = 0;
  /// What the other side is called in messages, e.g. "127.0.0.1:40112".
  virtual std::string peer() const = 0;
};

/// Standard input and output of the process as one stream: pipes, terminals, sockets, files.
Result<std::unique_ptr<Stream>> open_standard_stream();

/// Reads exactly into.size() bytes. Errors: kClosed when the stream ends before that.
Task<Result<void>> read_exactly(Stream& stream, MutableBuffers into);

/// A listening socket.
class Listener {
 public:
  virtual ~Listener() = default;
  /// Binds and listens. A unix path that exists already is taken over when nobody listens there
  /// any more. The path is removed when the listener is destroyed.
  /// Errors: kExists when in use, kPermission, kInvalidArgument.
  static Task<Result<std::unique_ptr<Listener>>> open(SocketAddress address,
                                                      unsigned backlog = 128);
  /// The next connection; it may then be used from any one loop. Errors: kClosed after close().
  virtual Task<Result<std::unique_ptr<Stream>>> accept() = 0;
  /// Ends accept() calls in flight and later ones.
  virtual void close() noexcept = 0;
  /// With the port that the system chose.
  virtual const SocketAddress& address() const noexcept = 0;
};

/// Connects. Errors: kNotFound, kPermission, kIo (refused, unreachable).
Task<Result<std::unique_ptr<Stream>>> connect_stream(SocketAddress address);

}  // namespace ashlar
