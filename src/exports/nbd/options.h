// The options of the handshake and their answers, as bytes to bytes: nothing here does I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "exports/nbd/session.h"
#include "protocols/nbd_handshake.h"

namespace ashlar::nbd {

/// What the server offers to every client.
struct Terms {
  const ExportList* exports = nullptr;
  enum class Connections : uint8_t { kOne, kSeveral } connections = Connections::kSeveral;
  enum class Tls : uint8_t { kNone, kRequired } tls = Tls::kNone;
};

/// The state of one handshake. Control loop: it looks at the list of exports.
class OptionAnswers {
 public:
  explicit OptionAnswers(const Terms& terms) : terms_(terms) {}

  enum class Next : uint8_t {
    kOption,        ///< the client may send the next option
    kTransmission,  ///< the handshake is over: session()
    kTls,           ///< a TLS handshake follows
    kEnd,           ///< the connection ends
  };
  struct Answer {
    Bytes bytes;  ///< to be sent first
    Next next = Next::kOption;
  };

  /// The client's flags. Errors: kUnsupported for flags that nobody knows.
  Result<void> set_client_flags(uint32_t flags);
  Answer answer(Option option, ByteView data);
  /// The answer to an option with too much data to be looked at.
  Answer too_big(Option option, uint32_t length) const;
  /// The connection is encrypted now: what was agreed on before that is forgotten.
  void tls_started();

  /// From kTransmission on. The export is in use by this client from then.
  const Session& session() const { return session_; }

 private:
  enum class Effect : uint8_t { kLook, kSelect };

  Answer answer_export_name(ByteView data);
  Answer answer_list(ByteView data) const;
  Answer answer_start_tls(ByteView data) const;
  Answer answer_info(Option option, ByteView data);
  Answer answer_structured_reply(ByteView data);
  Answer answer_extended_headers(ByteView data);
  Answer answer_contexts(Option option, ByteView data, Effect effect);

  bool tls_missing() const { return terms_.tls == Terms::Tls::kRequired && !encrypted_; }
  ExportSummary summary_of(const ServedExport& served) const;
  void enter(ServedExport& served);

  const Terms terms_;
  Session session_;
  std::string contexts_of_;  // the export that session_.contexts were chosen for
  bool no_zeroes_ = false;
  bool encrypted_ = false;
};

}  // namespace ashlar::nbd
