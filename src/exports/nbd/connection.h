// One client of the server, from the greeting to the end.
#pragma once

#include <memory>
#include <optional>

#include "ashlar/stream.h"
#include "ashlar/task.h"
#include "exports/nbd/buffers.h"
#include "exports/nbd/deadline.h"
#include "exports/nbd/negotiation.h"
#include "exports/nbd/transmission.h"

namespace ashlar::nbd {

/// A loop that serves clients, and the memory they share there.
struct Place {
  explicit Place(Loop& which) : loop(which) {}
  Loop& loop;
  BufferPool buffers;
  unsigned clients = 0;  // control loop
};

/// Control loop; the data phase runs in its place.
class Connection {
 public:
  struct Setup {
    Terms terms;
    Admission admission;        ///< where terms.tls wants it
    uint64_t handshake_ns = 0;  ///< 0: no limit
    Place* place = nullptr;
  };
  Connection(std::unique_ptr<Stream> stream, const Setup& setup);

  /// Serves the client until it leaves, breaks the protocol, or stop(). Once.
  /// Errors: why the handshake failed.
  Task<Result<void>> serve();
  /// Ends serve() soon; requests under way are answered.
  void stop() noexcept;
  /// The export this client uses, if it has got so far.
  const ServedExport* served() const noexcept { return negotiation_.session().served; }

 private:
  class StopOrder : public Posted {
   public:
    Connection* connection = nullptr;
  };
  Task<Result<Negotiation::Outcome>> negotiate();
  Task<void> transmit();

  const Setup setup_;
  Negotiation negotiation_;
  Deadline handshake_limit_;
  std::optional<Transmission> transmission_;
  enum class Phase : uint8_t { kHandshake, kTransmission, kEnded } phase_ = Phase::kHandshake;
  StopOrder stop_order_;
  bool stopping_ = false;
};

}  // namespace ashlar::nbd
