// The other side of the NBD client, for tests.
#include "testing/nbd_fake_server.h"

#include <algorithm>
#include <future>
#include <vector>

#include "async/on_loop.h"
#include "async/sync.h"

namespace ashlar::testing {
namespace {

using namespace nbd;  // NOLINT(google-build-using-namespace): this speaks nothing else
using nbd::Option;    // and not the row of an option table
using Age = FakeExport::Age;

constexpr uint32_t kContext = 7;

class FakeConnection {
 public:
  FakeConnection(Stream& stream, FakeExport& exported) : stream_(stream), export_(exported) {}

  Task<void> run() {
    if (export_.age == Age::kOldStyle) {
      const Bytes greeting = encode_old_style({export_.bytes.size(), export_.flags});
      good_ = co_await send(greeting);
    } else {
      co_await negotiate();
    }
    while (good_) co_await answer_one();
  }

 private:
  Task<bool> send(const Bytes& bytes) {
    const ConstBuffers all(bytes.data(), bytes.size());
    const Result<void> sent = co_await stream_.write_all(all);
    co_return sent.has_value();
  }
  Task<bool> receive(std::span<std::byte> into) {
    const MutableBuffers all(into);
    const Result<void> got = co_await read_exactly(stream_, all);
    co_return got.has_value();
  }

  Task<void> negotiate() {
    const uint16_t flags = export_.age == Age::kOldNew
                               ? handshake_flag::kNoZeroes
                               : handshake_flag::kNoZeroes | handshake_flag::kFixedNewStyle;
    good_ = co_await send(encode_greeting(flags));
    std::array<std::byte, kClientFlagsSize> client;
    if (good_) good_ = co_await receive(client);
    while (good_ && !opened_) {
      std::array<std::byte, kOptionHeaderSize> bytes;
      good_ = co_await receive(bytes);
      if (!good_) co_return;
      const Result<OptionHeader> header = decode_option_header(bytes);
      if (!header || header->length > 100'000) {
        good_ = false;
        co_return;
      }
      Bytes data(header->length);
      good_ = co_await receive(data);
      if (good_) co_await option(header->option, std::move(data));
    }
  }

  Task<void> reply(Option option, OptionReply type, Bytes data = {}) {
    good_ = co_await send(encode_option_reply(option, type, data));
  }

  Task<void> option(Option which, Bytes data) {
    const bool structured = export_.age <= Age::kStructured;
    switch (which) {
      case Option::kExtendedHeaders:
        if (export_.age != Age::kExtended) break;
        headers_ = Headers::kExtended;
        structured_ = true;
        co_return co_await reply(which, OptionReply::kAck);
      case Option::kStructuredReply:
        if (!structured) break;
        structured_ = true;
        co_return co_await reply(which, OptionReply::kAck);
      case Option::kSetMetaContext:
        if (!structured) break;
        co_return co_await contexts(data);
      case Option::kGo:
        if (export_.age >= Age::kNoGo) break;
        co_return co_await go(data);
      case Option::kExportName:
        opened_ =
            std::string(reinterpret_cast<const char*>(data.data()), data.size()) == export_.name;
        good_ = opened_;
        if (good_) {
          good_ = co_await send(encode_export_name_reply({export_.bytes.size(), export_.flags}));
        }
        co_return;
      default:
        break;
    }
    co_await reply(which, OptionReply::kErrorUnsupported);
  }

  Task<void> contexts(const Bytes& data) {
    const Result<MetaContextRequest> request = decode_meta_context_request(data);
    if (!request) co_return co_await reply(Option::kSetMetaContext, OptionReply::kErrorInvalid);
    for (const std::string& query : request->queries) {
      if (query != kAllocationContext) continue;
      MetaContext context;
      context.id = kContext;
      context.name = query;
      co_await reply(Option::kSetMetaContext, OptionReply::kMetaContext, encode(context));
    }
    if (good_) co_await reply(Option::kSetMetaContext, OptionReply::kAck);
  }

  Task<void> go(const Bytes& data) {
    const Result<InfoRequest> request = decode_info_request(data);
    if (!request) co_return co_await reply(Option::kGo, OptionReply::kErrorInvalid);
    if (request->export_name != export_.name) {
      co_return co_await reply(Option::kGo, OptionReply::kErrorUnknown);
    }
    InfoReply info;
    info.summary.size = export_.bytes.size();
    info.summary.flags = export_.flags;
    co_await reply(Option::kGo, OptionReply::kInfo, encode(info));
    if (good_ && export_.sizes) {
      InfoReply sizes;
      sizes.type = Info::kBlockSize;
      sizes.sizes = *export_.sizes;
      co_await reply(Option::kGo, OptionReply::kInfo, encode(sizes));
    }
    if (good_) co_await reply(Option::kGo, OptionReply::kAck);
    opened_ = true;
  }

  Task<void> answer_one() {
    std::array<std::byte, kMaxRequestSize> bytes;
    const auto header = std::span(bytes).first(request_size(headers_));
    good_ = co_await receive(header);
    if (!good_) co_return;
    const Result<Request> request = decode_request(header, headers_);
    good_ = request && request->command != Command::kDisconnect &&
            (request->command != Command::kWrite || request->length <= 64_MiB);
    if (!good_) co_return;
    Bytes payload(request->command == Command::kWrite ? request->length : 0);
    good_ = co_await receive(payload);
    if (!good_) co_return;
    const Bytes answer = answer_to(*request, payload);
    good_ = co_await send(answer);
  }

  bool past_end(const Request& request) const {
    const uint64_t size = export_.bytes.size();
    return request.offset > size || request.length > size - request.offset;
  }

  bool keeps_to_sizes(const Request& request) const {
    if (!export_.sizes) return true;
    const bool carries = request.command == Command::kRead || request.command == Command::kWrite;
    return is_aligned(request.offset | request.length, export_.sizes->minimum) &&
           (!carries || request.length <= export_.sizes->maximum_payload);
  }

  Bytes answer_to(const Request& request, const Bytes& payload) {
    const std::lock_guard lock(export_.guard);
    if (!keeps_to_sizes(request)) return error(request, WireError::kInvalid);
    const bool writes = request.command == Command::kWrite || request.command == Command::kTrim ||
                        request.command == Command::kWriteZeroes;
    if (request.command != Command::kFlush && past_end(request)) {
      return error(request, writes ? WireError::kNoSpace : WireError::kInvalid);
    }
    if (writes && (export_.flags & transmission_flag::kReadOnly) != 0) {
      return error(request, WireError::kPermission);
    }
    switch (request.command) {
      case Command::kRead:
        return data(request);
      case Command::kWrite:
        export_.bytes.write(request.offset, payload);
        return plain(request);
      case Command::kTrim:
      case Command::kWriteZeroes:
        export_.bytes.zero({request.offset, request.length});
        return plain(request);
      case Command::kFlush:
        ++export_.flushes;
        return plain(request);
      case Command::kBlockStatus:
        return status(request);
      default:
        return error(request, WireError::kInvalid);
    }
  }

  Bytes simple(const Request& request, WireError error, const Bytes& after = {}) const {
    Bytes bytes(kSimpleReplySize);
    encode({.error = error, .cookie = request.cookie}, std::span(bytes).first<kSimpleReplySize>());
    bytes.insert(bytes.end(), after.begin(), after.end());
    return bytes;
  }
  Bytes chunk(const Request& request, ChunkType type, const Bytes& payload, uint16_t flags) const {
    Bytes bytes(kMaxReplySize);
    const Chunk header = {.flags = flags,
                          .type = type,
                          .cookie = request.cookie,
                          .offset = request.offset,
                          .length = payload.size()};
    encode(header, headers_, std::span(bytes).first<kMaxReplySize>());
    bytes.resize(chunk_size(headers_));
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
  }
  Bytes plain(const Request& request) const {
    if (headers_ == Headers::kCompact) return simple(request, WireError::kNone);
    return chunk(request, ChunkType::kNone, {}, kChunkDone);
  }
  Bytes error(const Request& request, WireError error) const {
    if (!structured_) return simple(request, error);
    ErrorPayload payload;
    payload.error = error;
    payload.message = "no";
    return chunk(request, ChunkType::kError, encode(payload), kChunkDone);
  }

  /// Holes as holes, where the client understands that.
  Bytes data(const Request& request) const {
    Bytes content(request.length);
    export_.bytes.read(request.offset, content);
    if (!structured_) return simple(request, WireError::kNone, content);
    Bytes all;
    ByteRange left{request.offset, request.length};
    while (!left.empty()) {
      const SparseBytes::Run run = export_.bytes.run_at(left);
      const uint16_t flags = run.length == left.length ? kChunkDone : 0;
      Bytes part;
      if (run.has_pages) {
        Bytes payload(kDataOffsetSize + run.length);
        store_offset(payload, left.offset);
        const auto from =
            content.begin() + static_cast<std::ptrdiff_t>(left.offset - request.offset);
        std::copy_n(from, run.length, payload.begin() + kDataOffsetSize);
        part = chunk(request, ChunkType::kOffsetData, payload, flags);
      } else {
        const auto hole = encode_hole({left.offset, run.length});
        part = chunk(request, ChunkType::kOffsetHole, Bytes(hole.begin(), hole.end()), flags);
      }
      all.insert(all.end(), part.begin(), part.end());
      left = left.after(run.length);
    }
    return all;
  }
  static void store_offset(Bytes& payload, uint64_t offset) {
    const auto hole = encode_hole({offset, 1});  // starts with the offset
    std::copy_n(hole.begin(), kDataOffsetSize, payload.begin());
  }

  Bytes status(const Request& request) const {
    const SparseBytes::Run run = export_.bytes.run_at({request.offset, request.length});
    BlockStatus answer;
    answer.context = kContext;
    answer.extents = {{run.length, run.has_pages ? 0 : kStateHole | kStateZero}};
    const ChunkType type =
        headers_ == Headers::kExtended ? ChunkType::kBlockStatusExtended : ChunkType::kBlockStatus;
    return chunk(request, type, encode(answer, headers_), kChunkDone);
  }

  Stream& stream_;
  FakeExport& export_;
  Headers headers_ = Headers::kCompact;
  bool structured_ = false;
  bool opened_ = false;
  bool good_ = true;
};

}  // namespace

Task<void> serve_fake_nbd(std::unique_ptr<Stream> stream, FakeExport& exported) {
  FakeConnection connection(*stream, exported);
  co_await connection.run();
}

struct FakeNbdServer::State {
  explicit State(FakeExport& which) : exported(which) {}
  FakeExport& exported;
  std::unique_ptr<Runtime> runtime = Runtime::create({});
  std::unique_ptr<Listener> listener;
  std::vector<Stream*> connections;
  Scope scope;
  std::promise<void> listening;

  Task<void> serve(std::unique_ptr<Stream> stream) {
    Stream* raw = stream.get();
    connections.push_back(raw);
    FakeConnection connection(*raw, exported);
    co_await connection.run();
    std::erase(connections, raw);
  }
  Task<void> run(std::string path) {
    Result<std::unique_ptr<Listener>> opened =
        co_await Listener::open(SocketAddress::unix_socket(path));
    if (!opened) std::abort();
    listener = std::move(*opened);
    listening.set_value();
    for (;;) {
      Result<std::unique_ptr<Stream>> stream = co_await listener->accept();
      if (!stream) break;
      scope.spawn(serve(std::move(*stream)));
    }
    for (Stream* one : connections) one->shut_down();
    co_await scope.join();
    listener.reset();
  }
};

/// Something to be done on the server's loop.
struct FakeNbdServer::Order : Posted {
  State* state = nullptr;
  std::promise<void> done;
};

FakeNbdServer::FakeNbdServer(FakeExport& exported) : state_(std::make_unique<State>(exported)) {
  thread_ = std::thread([this] { sync_wait(*state_->runtime, state_->run(path())); });
  state_->listening.get_future().wait();
}

FakeNbdServer::~FakeNbdServer() {
  carry_out([](Posted& work) noexcept {
    auto& order = static_cast<Order&>(work);
    order.state->listener->close();
    order.done.set_value();
  });
  thread_.join();
}

void FakeNbdServer::cut() {
  carry_out([](Posted& work) noexcept {
    auto& order = static_cast<Order&>(work);
    for (Stream* one : order.state->connections) one->shut_down();
    order.done.set_value();
  });
}

void FakeNbdServer::carry_out(void (*what)(Posted&) noexcept) {
  Order order;
  order.state = state_.get();
  order.run = what;
  state_->runtime->control_loop().post(order);
  order.done.get_future().wait();
}

}  // namespace ashlar::testing
