// The handshake of one client: greeting, options, and TLS when it is asked for.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "ashlar/stream.h"
#include "ashlar/task.h"
#include "async/tls.h"
#include "exports/nbd/options.h"

namespace ashlar::nbd {

/// How clients that ask for TLS are met.
struct Admission {
  std::shared_ptr<const TlsCredentials> tls;
  std::function<bool(std::string_view name)> permits;  ///< empty: all who get through
};

/// On the control loop: exports come and go there.
class Negotiation {
 public:
  Negotiation(std::unique_ptr<Stream> stream, const Terms& terms, Admission admission);

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
  Task<Result<void>> start_tls();

  const Admission admission_;
  std::unique_ptr<Stream> stream_;
  Stream* shown_;  // what shut_down() ends: during a TLS handshake the stream below it
  OptionAnswers answers_;
  bool ending_ = false;
};

}  // namespace ashlar::nbd
