// An NBD client that says what a test wants, right or wrong, over any stream.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/stream.h"
#include "ashlar/task.h"
#include "protocols/nbd_handshake.h"
#include "protocols/nbd_transmission.h"

namespace ashlar::testing {

/// How a client and the server talk after the handshake.
enum class NbdDialect : uint8_t { kSimple, kStructured, kExtended };

/// One reply to an option.
struct NbdOptionReply {
  nbd::OptionReply type = nbd::OptionReply::kAck;
  nbd::Bytes data;
};

/// A whole answer to a request: all its chunks.
struct NbdAnswer {
  uint64_t cookie = 0;
  nbd::WireError error = nbd::WireError::kNone;
  nbd::Bytes data;          ///< of a read, holes filled in
  uint64_t hole_bytes = 0;  ///< of data
  unsigned chunks = 0;
  std::vector<nbd::BlockStatus> status;
};

/// Nothing is checked before it is sent; what comes back is, to the last byte.
class NbdTestClient {
 public:
  explicit NbdTestClient(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}

  Task<Result<void>> send(nbd::Bytes bytes);
  Task<Result<nbd::Bytes>> receive(size_t size);
  /// True when the server has closed and everything it sent was received.
  Task<bool> ended();

  /// Receives the greeting and answers it.
  Task<Result<void>> greet();
  /// Sends an option and receives its replies, up to the last.
  Task<Result<std::vector<NbdOptionReply>>> option(nbd::Option option, nbd::Bytes data = {});
  /// greet(), what `dialect` needs, the contexts, and kGo.
  Task<Result<void>> enter(std::string name, NbdDialect dialect,
                           std::vector<std::string> contexts = {});
  const nbd::ExportSummary& summary() const { return summary_; }
  const std::vector<nbd::MetaContext>& contexts() const { return contexts_; }

  /// Sends a request; its cookie is free among those under way.
  Task<Result<void>> send_request(nbd::Request request, nbd::Bytes payload = {});
  /// The next answer that is complete, to any of the requests under way.
  Task<Result<NbdAnswer>> receive_answer();
  /// Both, for a request that is alone.
  Task<Result<NbdAnswer>> ask(nbd::Request request, nbd::Bytes payload = {});

  /// What both sides speak from now on; for those who negotiate by option().
  void set_dialect(NbdDialect dialect) { dialect_ = dialect; }

  Stream& stream() { return *stream_; }
  /// Goes away without a word.
  void hang_up() { stream_.reset(); }

 private:
  struct UnderWay {
    nbd::Request request;
    NbdAnswer answer;
  };
  Task<Result<nbd::ReplyHeader>> receive_header();
  Task<Result<void>> take_simple(const nbd::SimpleReply& reply, UnderWay& of);
  Task<Result<void>> take_chunk(const nbd::Chunk& chunk, UnderWay& of);

  std::unique_ptr<Stream> stream_;
  NbdDialect dialect_ = NbdDialect::kSimple;
  nbd::ExportSummary summary_;
  std::vector<nbd::MetaContext> contexts_;
  std::map<uint64_t, UnderWay> under_way_;
};

/// A request in one line.
nbd::Request nbd_request(nbd::Command command, ByteRange range, uint16_t flags = 0);

}  // namespace ashlar::testing
