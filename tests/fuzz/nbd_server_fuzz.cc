// Fuzzes the NBD server: options in any order, requests of any kind, then bytes without sense. The
// oracle is exact: a small model says what every option and request must be answered with, and what
// the disk holds. Whatever came, the next client is served.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "exports/nbd/limits.h"
#include "testing/nbd_world.h"

namespace {

using namespace ashlar;       // NOLINT(google-build-using-namespace): one small program
using namespace ashlar::nbd;  // NOLINT(google-build-using-namespace)
using ashlar::nbd::Option;
using ashlar::testing::nbd_request;
using ashlar::testing::NbdAnswer;
using ashlar::testing::NbdDialect;
using ashlar::testing::NbdTestClient;
using ashlar::testing::NbdWorld;

constexpr uint64_t kSize = 256_KiB;

void require(bool holds) {
  if (!holds) std::abort();
}

/// The input, taken piece by piece; zeroes behind its end.
class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : left_(bytes) {}
  bool empty() const { return left_.empty(); }
  uint8_t byte() {
    if (left_.empty()) return 0;
    const uint8_t value = left_.front();
    left_ = left_.subspan(1);
    return value;
  }
  uint64_t number(unsigned bytes) {
    uint64_t value = 0;
    for (; bytes != 0; --bytes) value = value << 8 | byte();
    return value;
  }
  Bytes bytes(size_t most) {
    Bytes taken;
    for (size_t count = std::min(most, left_.size()); count != 0; --count) {
      taken.push_back(std::byte{byte()});
    }
    return taken;
  }

 private:
  std::span<const uint8_t> left_;
};

/// What the server must have agreed on.
struct Model {
  NbdDialect dialect = NbdDialect::kSimple;
  bool allocation = false;
  bool depth = false;
  std::vector<std::byte> disk = std::vector<std::byte>(kSize);

  bool structured() const { return dialect != NbdDialect::kSimple; }
  unsigned contexts() const { return unsigned{allocation} + unsigned{depth}; }
};

/// Whether the data of kInfo or kGo is well made; then the name in it.
std::optional<std::string> name_in_info(const Bytes& data) {
  Input input({reinterpret_cast<const uint8_t*>(data.data()), data.size()});
  const uint64_t length = input.number(4);
  if (data.size() < 6 || length > data.size() - 6 || length > 4096) return std::nullopt;
  const Bytes name = input.bytes(length);
  const uint64_t count = input.number(2);
  if (data.size() != 6 + length + 2 * count) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(name.data()), name.size());
}

/// One session of the fuzzed client.
class Session {
 public:
  Session(NbdWorld& world, Input& input) : input_(input), client_(world.connect()) {}

  Task<void> run() {
    const Result<void> greeted = co_await client_.greet();
    require(greeted.has_value());
    for (int options = 0; options < 24 && !entered_ && !ended_; ++options) co_await one_option();
    if (!entered_ && !ended_) co_await enter();
    for (int requests = 0; requests < 48 && entered_ && !ended_ && !input_.empty(); ++requests) {
      co_await one_request();
    }
    if (ended_) {
      const bool gone = co_await client_.ended();
      require(gone);
    }
    // What follows makes no sense in any state; the answers do not matter.
    (void)co_await client_.send(input_.bytes(512));
  }

 private:
  Task<OptionReply> last_reply(Option option, Bytes data) {
    const auto replies = co_await client_.option(option, std::move(data));
    require(replies.has_value());
    co_return replies->back().type;
  }
  Task<void> expect(Option option, Bytes data, OptionReply wanted) {
    const OptionReply got = co_await last_reply(option, std::move(data));
    require(got == wanted);
  }

  Task<void> enter() {
    InfoRequest request;
    request.export_name = "disk";
    co_await expect(Option::kGo, encode(request), OptionReply::kAck);
    entered_ = true;
  }

  Task<void> info_with(Option option, Bytes data) {
    const std::optional<std::string> name = name_in_info(data);
    const OptionReply wanted = !name             ? OptionReply::kErrorInvalid
                               : *name == "disk" ? OptionReply::kAck
                                                 : OptionReply::kErrorUnknown;
    co_await expect(option, std::move(data), wanted);
    entered_ = option == Option::kGo && wanted == OptionReply::kAck;
  }

  Task<void> choose_contexts() {
    const uint8_t which = input_.byte();
    MetaContextRequest request;
    request.export_name = (which & 8) != 0 ? "other" : "disk";
    if ((which & 1) != 0) request.queries.emplace_back("base:allocation");
    if ((which & 2) != 0) request.queries.emplace_back("qemu:allocation-depth");
    if ((which & 4) != 0) request.queries.emplace_back("base:");
    const OptionReply wanted = !model_.structured() ? OptionReply::kErrorInvalid
                               : (which & 8) != 0   ? OptionReply::kErrorUnknown
                                                    : OptionReply::kAck;
    co_await expect(Option::kSetMetaContext, encode(request), wanted);
    const bool chosen = wanted == OptionReply::kAck;
    model_.allocation = chosen && (which & 1) != 0;
    model_.depth = chosen && (which & 2) != 0;
  }

  Task<void> change_dialect(Option option, NbdDialect dialect) {
    const bool with_data = input_.byte() % 4 == 3;
    const bool possible = dialect == NbdDialect::kStructured
                              ? !model_.structured()
                              : model_.dialect != NbdDialect::kExtended;
    const bool agreed = possible && !with_data;
    co_await expect(option, Bytes(with_data ? 1 : 0),
                    agreed ? OptionReply::kAck : OptionReply::kErrorInvalid);
    if (!agreed) co_return;
    model_.dialect = dialect;
    client_.set_dialect(dialect);
  }

  Task<void> one_option() {
    switch (input_.byte() % 10) {
      case 0:
        co_await change_dialect(Option::kStructuredReply, NbdDialect::kStructured);
        break;
      case 1:
        co_await change_dialect(Option::kExtendedHeaders, NbdDialect::kExtended);
        break;
      case 2: {
        Bytes data = input_.bytes(input_.byte() % 2);
        const OptionReply wanted = data.empty() ? OptionReply::kAck : OptionReply::kErrorInvalid;
        co_await expect(Option::kList, std::move(data), wanted);
        break;
      }
      case 3:
        co_await info_with(Option::kInfo, input_.bytes(input_.byte() % 32));
        break;
      case 4:
        co_await info_with(Option::kGo, input_.bytes(input_.byte() % 32));
        break;
      case 5:
      case 6:
        co_await choose_contexts();
        break;
      case 7: {
        Bytes data = input_.bytes(input_.byte() % 2);
        const OptionReply wanted =
            data.empty() ? OptionReply::kErrorPolicy : OptionReply::kErrorInvalid;
        co_await expect(Option::kStartTls, std::move(data), wanted);
        break;
      }
      case 8: {
        const auto unknown = static_cast<Option>(12 + input_.number(3));
        co_await expect(unknown, input_.bytes(40), OptionReply::kErrorUnsupported);
        break;
      }
      default:
        co_await enter();
    }
  }

  uint16_t allowed_flags(Command command) const {
    using namespace command_flag;
    const bool extended = model_.dialect == NbdDialect::kExtended;
    if (command == Command::kRead) return model_.structured() ? kFua | kDontFragment : kFua;
    if (command == Command::kWrite) return extended ? kFua | kPayloadLength : kFua;
    if (command == Command::kWriteZeroes) return kFua | kNoHole | kFastZero;
    if (command == Command::kBlockStatus) return kFua | kOneExtent;
    return kFua;
  }

  bool must_fail(const Request& request) const {
    if (static_cast<uint16_t>(request.command) > 7) return true;
    if ((request.flags & ~allowed_flags(request.command)) != 0) return true;
    if (request.command == Command::kFlush) return false;
    if (request.command == Command::kBlockStatus &&
        (model_.contexts() == 0 || request.length == 0)) {
      return true;
    }
    return request.offset > kSize || request.length > kSize - request.offset;
  }

  Request next_request() {
    Request request;
    request.command = static_cast<Command>(input_.byte() % 10);
    request.flags = static_cast<uint16_t>(input_.byte() % 4 == 0 ? input_.number(2) : 0);
    // A payload that is announced for what has none would be part of the request.
    request.flags &= static_cast<uint16_t>(~command_flag::kPayloadLength);
    const uint8_t shape = input_.byte();
    request.offset = input_.number(shape % 8 == 0 ? 8 : 3) % (shape % 8 == 0 ? ~0ULL : kSize + 512);
    request.length = input_.number(shape % 16 == 8 ? 4 : 2);
    if (request.command == Command::kWrite && model_.dialect == NbdDialect::kExtended) {
      request.flags |= command_flag::kPayloadLength;
    }
    if (request.command == Command::kWrite) request.length %= 64_KiB;
    request.cookie = input_.number(1);
    return request;
  }

  Task<void> one_request() {
    const Request request = next_request();
    if (request.command == Command::kDisconnect) {
      ended_ = true;
      (void)co_await client_.send_request(request);
      co_return;
    }
    Bytes payload;
    const auto value = std::byte{input_.byte()};
    if (request.command == Command::kWrite) payload.resize(request.length, value);
    const Result<NbdAnswer> answer = co_await client_.ask(request, std::move(payload));
    require(answer.has_value());
    if (must_fail(request)) {
      require(answer->error == WireError::kInvalid);
      co_return;
    }
    const bool may_refuse = (request.flags & command_flag::kFastZero) != 0;
    if (may_refuse && answer->error == WireError::kUnsupported) co_return;
    require(answer->error == WireError::kNone);
    apply(request, value, *answer);
  }

  void apply(const Request& request, std::byte value, const NbdAnswer& answer) {
    if (request.command == Command::kBlockStatus) return check_status(request, answer);
    if (request.command == Command::kFlush) return;
    const auto part = std::span(model_.disk).subspan(request.offset, request.length);
    if (request.command == Command::kRead) {
      require(std::ranges::equal(part, answer.data));
      require((request.flags & command_flag::kDontFragment) == 0 || answer.chunks <= 1);
    } else if (request.command == Command::kWrite) {
      std::ranges::fill(part, value);
    } else if (request.command == Command::kWriteZeroes) {
      std::ranges::fill(part, std::byte{0});
    }
  }

  void check_status(const Request& request, const NbdAnswer& answer) const {
    require(answer.status.size() == model_.contexts());
    for (const BlockStatus& status : answer.status) {
      uint64_t covered = 0;
      for (const Descriptor& extent : status.extents) covered += extent.length;
      const bool one = (request.flags & command_flag::kOneExtent) != 0;
      require(one ? covered <= request.length && status.extents.size() == 1
                  : covered == request.length);
      if (status.context == 0) check_zeroes(request.offset, status);
    }
  }

  /// What is said to read as zeroes does.
  void check_zeroes(uint64_t offset, const BlockStatus& status) const {
    for (const Descriptor& extent : status.extents) {
      const auto part = std::span(model_.disk).subspan(offset, extent.length);
      const auto is_zero = [](std::byte b) { return b == std::byte{0}; };
      require((extent.flags & kStateZero) == 0 || std::ranges::all_of(part, is_zero));
      offset += extent.length;
    }
  }

  Input& input_;
  NbdTestClient client_;
  Model model_;
  bool entered_ = false;
  bool ended_ = false;
};

Task<void> run_session(NbdWorld& world, Input& input) {
  Session session(world, input);
  co_await session.run();
}

/// The server is none the worse.
Task<void> check_server(NbdWorld& world) {
  for (int turn = 0; turn < 10'000 && world.server().connections() != 0; ++turn) co_await yield();
  require(world.server().connections() == 0);
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kStructured);
  require(entered.has_value() && client.summary().size == kSize);
  const Result<NbdAnswer> answer = co_await client.ask(nbd_request(Command::kRead, {0, kSize}));
  require(answer && answer->error == WireError::kNone);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input({data, size});
  NbdWorld::Settings settings;
  settings.seed = 1 + input.byte();
  settings.size = kSize;
  NbdWorld world(settings);
  world.wait(run_session(world, input));
  world.wait(check_server(world));
  return 0;
}
