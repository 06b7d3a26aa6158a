// Reading options and sending their answers.
#include "exports/nbd/negotiation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "exports/nbd/limits.h"

namespace ashlar::nbd {
namespace {

/// Memory for data grows with what has come, not with what was announced.
constexpr size_t kDataStep = 4_KiB;

}  // namespace

Negotiation::Negotiation(std::unique_ptr<Stream> stream, const Terms& terms, Admission admission)
    : admission_(std::move(admission)),
      stream_(std::move(stream)),
      shown_(stream_.get()),
      answers_(terms) {}

void Negotiation::shut_down() noexcept {
  ending_ = true;
  if (shown_ != nullptr) shown_->shut_down();
}

Task<Result<void>> Negotiation::send(Bytes bytes) {
  const ConstBuffers from{std::span<const std::byte>(bytes)};
  co_return co_await stream_->write_all(from);
}

Task<Result<void>> Negotiation::greet() {
  Result<void> sent =
      co_await send(encode_greeting(handshake_flag::kFixedNewStyle | handshake_flag::kNoZeroes));
  if (!sent) co_return sent;
  std::array<std::byte, kClientFlagsSize> flags;
  const MutableBuffers into{std::span<std::byte>(flags)};
  Result<void> received = co_await read_exactly(*stream_, into);
  if (!received) co_return received;
  co_return answers_.set_client_flags(decode_client_flags(flags));
}

Task<Result<void>> Negotiation::read_data(size_t length, Bytes& data) {
  while (data.size() < length) {
    const size_t old_size = data.size();
    data.resize(std::min(length, old_size + kDataStep));
    const MutableBuffers into{std::span(data).subspan(old_size)};
    Result<void> received = co_await read_exactly(*stream_, into);
    if (!received) co_return received;
  }
  co_return ok();
}

Task<Result<void>> Negotiation::skip_data(size_t length) {
  Bytes ignored(std::min(length, kDataStep));
  while (length != 0) {
    const size_t part = std::min(length, ignored.size());
    const MutableBuffers into{std::span(ignored).first(part)};
    Result<void> received = co_await read_exactly(*stream_, into);
    if (!received) co_return received;
    length -= part;
  }
  co_return ok();
}

Task<Result<Negotiation::Next>> Negotiation::serve_option() {
  std::array<std::byte, kOptionHeaderSize> head;
  const MutableBuffers into{std::span<std::byte>(head)};
  Result<void> done = co_await read_exactly(*stream_, into);
  if (!done) co_return fail(done.error());
  const Result<OptionHeader> header = decode_option_header(head);
  if (!header) co_return fail(header.error());
  if (header->length > kMaxSkippedData) {
    co_return fail(
        Error(ErrorCode::kTooLarge,
              fmt::format("option {} has {} bytes of data, more than {}",
                          static_cast<uint32_t>(header->option), header->length, kMaxSkippedData))
            .because("nbd-option-length"));
  }
  OptionAnswers::Answer answer;
  if (header->length > kMaxOptionData) {
    done = co_await skip_data(header->length);
    if (!done) co_return fail(done.error());
    answer = answers_.too_big(header->option, header->length);
  } else {
    Bytes data;
    done = co_await read_data(header->length, data);
    if (!done) co_return fail(done.error());
    answer = answers_.answer(header->option, data);
  }
  done = co_await send(std::move(answer.bytes));
  // Clients may leave without waiting for the answer to kAbort.
  if (!done && answer.next != Next::kEnd) co_return fail(done.error());
  co_return answer.next;
}

/// What a client sends before the TLS handshake is over is part of it, never an option.
Task<Result<void>> Negotiation::start_tls() {
  Result<TlsConnection> secured = co_await tls_accept(std::move(stream_), admission_.tls);
  shown_ = nullptr;
  if (!secured) co_return fail(secured.error());
  stream_ = std::move(secured->stream);
  shown_ = stream_.get();
  if (admission_.permits && !admission_.permits(secured->peer_name)) {
    const std::string& name = secured->peer_name;
    co_return fail(Error(ErrorCode::kPermission,
                         name.empty() ? "the client has not proved who it is"
                                      : fmt::format("\"{}\" is not permitted to connect", name))
                       .because("nbd-not-permitted", {name}));
  }
  answers_.tls_started();
  co_return ok();
}

Task<Result<Negotiation::Outcome>> Negotiation::run() {
  const Result<void> greeted = co_await greet();
  if (!greeted) co_return fail(greeted.error());
  while (!ending_) {
    const Result<Next> next = co_await serve_option();
    if (!next) co_return fail(next.error());
    if (*next == Next::kTransmission) co_return Outcome::kTransmission;
    if (*next == Next::kEnd) break;
    if (*next == Next::kTls) {
      const Result<void> secured = co_await start_tls();
      if (!secured) co_return fail(secured.error());
    }
  }
  co_return Outcome::kEnded;
}

}  // namespace ashlar::nbd
