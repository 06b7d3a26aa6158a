// The handshake of one client: greeting, options, and TLS when it is asked for.
#pragma once

#include <memory>

#include "ashlar/stream.h"
#include "ashlar/task.h"
#include "exports/nbd/options.h"

namespace ashlar::nbd {

/// On the control loop: exports come and go there.
class Negotiation {
 public:
  Negotiation(std::unique_ptr<Stream> stream, const Terms& terms);

  enum class Outcome : uint8_t { kTransmission, kEnded };
  /// Errors: what the client did wrong, and what the connection says.
  Task<Result<Outcome>> run();

  /// After kTransmission. While run() is under way: the export the client has entered, if any.
  const Session& session() const { return answers_.session(); }
  /// Ends run() soon.
  void shut_down() noexcept;
  /// When run() has ended.
  Stream& stream() noexcept { return *stream_; }

 private:
  using Next = OptionAnswers::Next;
  Task<Result<void>> greet();
  Task<Result<Next>> serve_option();
  Task<Result<void>> read_data(size_t length, Bytes& data);
  Task<Result<void>> skip_data(size_t length);
  Task<Result<void>> send(Bytes bytes);

  std::unique_ptr<Stream> stream_;
  OptionAnswers answers_;
  bool ending_ = false;
};

}  // namespace ashlar::nbd
