// TLS on top of a stream: OpenSSL works on two buffers in memory, and this file carries what is in
// them to and from the stream.
#include "async/tls.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <array>

#include "async/sync.h"
#include "async/tls_context.h"

namespace ashlar {
namespace {

constexpr size_t kRecord = 16 << 10;   // most plain text of one record
constexpr size_t kInput = 64 << 10;    // read from below at once
constexpr size_t kOutput = 256 << 10;  // records gathered before they are sent

using Session = std::unique_ptr<SSL, TlsRelease<SSL, SSL_free>>;

ConstBuffers view(const std::vector<std::byte>& bytes) { return {bytes.data(), bytes.size()}; }

class TlsStream final : public Stream {
 public:
  TlsStream(std::unique_ptr<Stream> below, std::shared_ptr<const TlsCredentials> credentials)
      : below_(std::move(below)),
        credentials_(std::move(credentials)),
        session_(SSL_new(credentials_->loaded().context.get())),
        input_(kInput),
        record_(kRecord) {}

  /// Errors: kNoMemory. Once, before everything else.
  Result<void> prepare() {
    BIO* in = BIO_new(BIO_s_mem());
    BIO* out = BIO_new(BIO_s_mem());
    if (!session_ || in == nullptr || out == nullptr) {
      BIO_free(in);
      BIO_free(out);
      return fail(ErrorCode::kNoMemory, "no memory for a TLS session");
    }
    SSL_set_bio(session_.get(), in, out);
    SSL_set_app_data(session_.get(), &user_);  // for the callback that gives the key
    SSL_set_mode(session_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
    return ok();
  }

  Task<Result<void>> shake_hands() {
    for (;;) {
      ERR_clear_error();
      const int done = SSL_do_handshake(session_.get());
      const int state = SSL_get_error(session_.get(), done);
      const std::string refusal = done == 1 || state == SSL_ERROR_WANT_READ ? "" : what_failed();
      Result<void> sent = co_await flush();  // an alert, too
      if (!refusal.empty()) co_return fail(handshake_error(refusal));
      if (!sent) co_return sent;
      if (done == 1) co_return ok();
      Result<size_t> got = co_await feed();
      if (!got) co_return fail(got.error());
      if (*got == 0) {
        co_return fail(
            handshake_error("the other side closed the connection").because("tls-closed"));
      }
    }
  }

  Task<Result<size_t>> read_some(MutableBuffers into) override {
    for (;;) {
      ERR_clear_error();
      size_t count = 0;
      const int done = take(into, count);
      const int state = SSL_get_error(session_.get(), done);
      if (BIO_ctrl_pending(SSL_get_wbio(session_.get())) != 0) {  // an answer to a new key
        Result<void> sent = co_await flush();
        if (!sent) co_return fail(sent.error());
      }
      if (done == 1) co_return count;
      if (state == SSL_ERROR_ZERO_RETURN) co_return size_t{0};
      if (state != SSL_ERROR_WANT_READ) co_return fail(broken());
      Result<size_t> got = co_await feed();
      if (!got) co_return fail(got.error());
      if (*got == 0) co_return size_t{0};
    }
  }

  Task<Result<void>> write_all(ConstBuffers from) override {
    while (!from.empty()) {
      const size_t left = from.size();
      const size_t taken = put(from.slice(0, std::min(left, kOutput)));
      if (taken == 0) co_return fail(broken());
      from.remove_front(taken);
      Result<void> sent = co_await flush();
      if (!sent) co_return sent;
    }
    co_return ok();
  }

  void shut_down() noexcept override { below_->shut_down(); }
  std::string peer() const override { return below_->peer(); }

  SSL* session() const { return session_.get(); }

  std::string proven_name() const {
    const TlsSettings& settings = credentials_->settings();
    if (settings.kind == TlsSettings::Kind::kPsk) {
      return user_;
    }
    if (settings.kind != TlsSettings::Kind::kX509 || !settings.verify_peer) return {};
    X509* certificate = SSL_get0_peer_certificate(session_.get());
    return certificate == nullptr ? std::string() : distinguished_name(certificate);
  }

 private:
  /// Plain text that is there already. As SSL_read_ex().
  int take(MutableBuffers into, size_t& count) {
    int done = 0;
    bool going_on = true;
    into.for_each([&](std::span<std::byte> part) {
      size_t got = 0;
      if (!going_on) return;
      const int one = SSL_read_ex(session_.get(), part.data(), part.size(), &got);
      count += got;
      // What came before an end or an error is delivered first.
      done = count != 0 ? 1 : one;
      going_on = one == 1 && got == part.size();
    });
    return done;
  }

  /// Encrypts all of `from` in as few records as possible; how much of it that was.
  size_t put(ConstBuffers from) {
    ERR_clear_error();
    size_t taken = 0;
    while (taken < from.size()) {
      const ConstBuffers part = from.slice(taken, std::min(from.size() - taken, kRecord));
      const std::byte* data = record_.data();
      if (part.contiguous()) {
        data = part.single().data();
      } else {
        part.copy_to(std::span(record_).first(part.size()));
      }
      size_t count = 0;
      if (SSL_write_ex(session_.get(), data, part.size(), &count) != 1) return 0;
      taken += count;
    }
    return taken;
  }

  /// Sends what OpenSSL has made. Readers and writers both do: one at a time.
  Task<Result<void>> flush() {
    Mutex::Guard guard = co_await sending_.lock();
    BIO* out = SSL_get_wbio(session_.get());
    while (const size_t size = BIO_ctrl_pending(out)) {
      output_.resize(size);
      size_t count = 0;
      BIO_read_ex(out, output_.data(), size, &count);
      output_.resize(count);
      Result<void> sent = co_await below_->write_all(view(output_));
      if (!sent) co_return sent;
    }
    co_return ok();
  }

  /// Gives OpenSSL what has come from the other side; 0 at the end.
  Task<Result<size_t>> feed() {
    const MutableBuffers room(input_.data(), input_.size());
    Result<size_t> got = co_await below_->read_some(room);
    if (!got || *got == 0) co_return got;
    size_t count = 0;
    const int kept = BIO_write_ex(SSL_get_rbio(session_.get()), input_.data(), *got, &count);
    if (kept != 1 || count != *got) co_return fail(ErrorCode::kNoMemory, "no memory for TLS data");
    co_return got;
  }

  /// Why a handshake cannot go on, in words.
  std::string what_failed() const {
    const long verified = SSL_get_verify_result(session_.get());
    const bool server = SSL_is_server(session_.get()) == 1;
    const unsigned long number = ERR_peek_error();
    const int reason = ERR_GET_REASON(number);
    const std::string words = take_tls_error();
    if (verified != X509_V_OK && SSL_get_verify_mode(session_.get()) != SSL_VERIFY_NONE) {
      return fmt::format("the certificate of the {} is refused: {}", server ? "client" : "server",
                         X509_verify_cert_error_string(verified));
    }
    if (ERR_GET_LIB(number) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET) {
      return fmt::format("the other side refused: {}",
                         SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
    }
    return words.empty() ? "it was broken off" : words;
  }
  Error handshake_error(const std::string& what) const {
    return Error(ErrorCode::kPermission, fmt::format("TLS handshake with \"{}\": {}", peer(), what))
        .because("tls-handshake", {what});
  }
  Error broken() const {
    const std::string why = take_tls_error();
    return Error(ErrorCode::kIo, fmt::format("TLS connection to \"{}\": {}", peer(),
                                             why.empty() ? "it was broken off" : why));
  }

  const std::unique_ptr<Stream> below_;
  const std::shared_ptr<const TlsCredentials> credentials_;
  const Session session_;
  std::vector<std::byte> input_;
  std::vector<std::byte> record_;
  std::vector<std::byte> output_;
  std::string user_;  // psk, server
  Mutex sending_;
};

std::unexpected<Error> wrong_endpoint(std::string_view wanted) {
  return fail(Error(ErrorCode::kInvalidArgument,
                    fmt::format("TLS credentials are for the other side: endpoint \"{}\" is needed",
                                wanted))
                  .because("tls-endpoint", {std::string(wanted)}));
}

/// Makes the handshake check that the server's certificate is for `hostname`.
Result<void> expect_host(SSL* session, const std::string& hostname) {
  X509_VERIFY_PARAM* wanted = SSL_get0_param(session);
  X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_ip_asc(wanted, hostname.c_str()) == 1) return ok();
  ERR_clear_error();
  if (hostname.empty() || X509_VERIFY_PARAM_set1_host(wanted, hostname.c_str(), 0) != 1) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("TLS needs the name of the server, \"{}\" is none", hostname))
                    .because("tls-hostname", {hostname}));
  }
  SSL_set_tlsext_host_name(session, hostname.c_str());
  return ok();
}

Task<Result<TlsConnection>> finish(std::unique_ptr<TlsStream> stream) {
  Result<void> done = co_await stream->shake_hands();
  if (!done) co_return fail(done.error());
  TlsConnection connection;
  connection.peer_name = stream->proven_name();
  connection.stream = std::move(stream);
  co_return std::move(connection);
}

}  // namespace

Task<Result<TlsConnection>> tls_connect(std::unique_ptr<Stream> plain,
                                        std::shared_ptr<const TlsCredentials> credentials,
                                        std::string hostname) {
  if (credentials->endpoint() != TlsSettings::Endpoint::kClient) co_return wrong_endpoint("client");
  const TlsSettings& settings = credentials->settings();
  const bool check = settings.kind == TlsSettings::Kind::kX509 && settings.verify_peer;
  auto stream = std::make_unique<TlsStream>(std::move(plain), std::move(credentials));
  Result<void> ready = stream->prepare();
  if (ready && check) ready = expect_host(stream->session(), hostname);
  if (!ready) co_return fail(ready.error());
  SSL_set_connect_state(stream->session());
  co_return co_await finish(std::move(stream));
}

Task<Result<TlsConnection>> tls_accept(std::unique_ptr<Stream> plain,
                                       std::shared_ptr<const TlsCredentials> credentials) {
  if (credentials->endpoint() != TlsSettings::Endpoint::kServer) co_return wrong_endpoint("server");
  auto stream = std::make_unique<TlsStream>(std::move(plain), std::move(credentials));
  Result<void> ready = stream->prepare();
  if (!ready) co_return fail(ready.error());
  SSL_set_accept_state(stream->session());
  co_return co_await finish(std::move(stream));
}

}  // namespace ashlar
