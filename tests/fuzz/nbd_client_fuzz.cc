// Fuzzes what an NBD client does with what a server sends. The first byte chooses: answers cut from
// the input in a way that is allowed, which must give exactly the right bytes; any bytes as
// answers; any bytes as the server's side of the handshake.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "async/sync.h"
#include "drivers/nbd/channel.h"
#include "testing/memory_stream.h"
#include "testing/simulated_runtime.h"

namespace {

using namespace ashlar;       // NOLINT(google-build-using-namespace): a program of its own
using namespace nbd;          // NOLINT(google-build-using-namespace)
using namespace nbd::client;  // NOLINT(google-build-using-namespace)
using Input = std::span<const uint8_t>;

constexpr uint64_t kOffset = 1 << 16;
constexpr size_t kLength = 6000;
constexpr size_t kGuard = 64;  // bytes around every buffer that stay as they are
constexpr uint64_t kFirstCookie = 1 << 8;

void require(bool holds) {
  if (!holds) std::abort();
}

std::byte content(uint64_t offset) { return std::byte((offset * 31 + offset / 251) & 0xff); }

uint8_t next(Input& input) {
  if (input.empty()) return 0;
  const uint8_t value = input.front();
  input = input.subspan(1);
  return value;
}

void append(Bytes& bytes, ByteView more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

void append_chunk(Bytes& bytes, Headers headers, const Chunk& chunk) {
  std::array<std::byte, kMaxReplySize> header;
  encode(chunk, headers, header);
  append(bytes, ByteView(header).first(chunk_size(headers)));
}

/// Parts of two reads, mixed; each part is data or a hole, as the input has it.
struct Reply {
  Bytes bytes;
  std::vector<bool> zero = std::vector<bool>(2 * kLength);
};
Reply allowed_reply(Input input, Headers headers) {
  Reply reply;
  size_t done[2] = {0, 0};
  while (done[0] < kLength || done[1] < kLength) {
    size_t which = next(input) % 2;
    if (done[which] == kLength) which = 1 - which;
    const size_t wanted = size_t{next(input)} * 16 + 1;
    const size_t length = std::min(wanted, kLength - done[which]);
    const ByteRange part{kOffset + which * kLength + done[which], length};
    const bool hole = next(input) % 3 == 0;
    done[which] += length;
    Chunk chunk;
    chunk.flags = done[which] == kLength ? kChunkDone : 0;
    chunk.cookie = kFirstCookie + which;
    chunk.type = hole ? ChunkType::kOffsetHole : ChunkType::kOffsetData;
    chunk.length = hole ? kHoleSize : kDataOffsetSize + length;
    append_chunk(reply.bytes, headers, chunk);
    const auto place = encode_hole(part);  // starts with the offset, as data does
    append(reply.bytes, ByteView(place).first(hole ? kHoleSize : kDataOffsetSize));
    for (size_t at = 0; at < length; ++at) {
      reply.zero[part.offset - kOffset + at] = hole;
      if (!hole) reply.bytes.push_back(content(part.offset + at));
    }
  }
  return reply;
}

Task<void> send_and_leave(std::unique_ptr<Stream> stream, const Bytes& bytes, size_t requests) {
  Bytes room(requests);
  const MutableBuffers into(room.data(), room.size());
  (void)co_await read_exactly(*stream, into);
  const ConstBuffers all(bytes.data(), bytes.size());
  (void)co_await stream->write_all(all);
}

Task<void> perform(Channel& channel, Call& call, Result<void>& result) {
  result = co_await channel.perform(call);
}

Agreement agreement_of(Headers headers) {
  Agreement agreement;
  agreement.headers = headers;
  agreement.structured = true;
  agreement.context = 1;
  return agreement;
}

/// Two reads and a block status; the server's bytes; and what came of it.
Task<void> exchange(const Bytes& bytes, Headers headers, const Reply* expected) {
  testing::MemoryStreamShape shape;
  shape.reads = testing::MemoryStreamShape::Reads::kRandom;
  auto [ours, theirs] = testing::memory_stream_pair({}, shape);
  Established established;
  established.stream = std::move(ours);
  established.agreement = agreement_of(headers);
  Channel channel(std::move(established));
  channel.start({});
  const size_t count = expected != nullptr ? 2 : 3;
  Scope scope;
  scope.spawn(send_and_leave(std::move(theirs), bytes, count * request_size(headers)));
  Bytes memory(2 * (kLength + 2 * kGuard), std::byte{0xa5});
  std::array<Call, 3> calls;
  std::array<Result<void>, 3> results;
  for (size_t which = 0; which < count; ++which) {
    Call& call = calls[which];
    call.request.offset = kOffset + which * kLength;
    call.request.length = kLength;
    call.request.command = which == 2 ? Command::kBlockStatus : Command::kRead;
    std::byte* to = memory.data() + (which % 2) * (kLength + 2 * kGuard) + kGuard;
    if (which < 2) call.into = MutableBuffers(to, kLength);
    scope.spawn(perform(channel, call, results[which]));
  }
  co_await scope.join();
  co_await channel.close();
  for (size_t at = 0; at < memory.size(); ++at) {
    const size_t inside = at % (kLength + 2 * kGuard);
    const bool guard = inside < kGuard || inside >= kGuard + kLength;
    if (guard) require(memory[at] == std::byte{0xa5});
    if (guard || expected == nullptr) continue;
    const size_t index = at / (kLength + 2 * kGuard) * kLength + inside - kGuard;
    require(memory[at] == (expected->zero[index] ? std::byte{0} : content(kOffset + index)));
  }
  for (size_t which = 0; which < count; ++which) require(expected == nullptr || results[which]);
}

Task<void> greet(const Bytes& bytes, const Wishes& wishes) {
  auto [ours, theirs] = testing::memory_stream_pair();
  Scope scope;
  scope.spawn(send_and_leave(std::move(theirs), bytes, 0));
  Result<Established> established = co_await shake_hands(std::move(ours), wishes);
  if (established) require(established->stream != nullptr);
  established = fail(ErrorCode::kClosed, "done");
  co_await scope.join();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const uint8_t choice = next(input);
  const Headers headers = (choice & 0x80) != 0 ? Headers::kExtended : Headers::kCompact;
  SimulatedRuntime runtime(choice);
  const ByteView rest = std::as_bytes(input);
  const Bytes bytes(rest.begin(), rest.end());
  if (choice % 3 == 0) {
    const Reply reply = allowed_reply(input, headers);
    sync_wait(runtime, exchange(reply.bytes, headers, &reply));
  } else if (choice % 3 == 1) {
    sync_wait(runtime, exchange(bytes, headers, nullptr));
  } else {
    Wishes wishes;
    wishes.export_name = "e";
    sync_wait(runtime, greet(bytes, wishes));
  }
  return 0;
}
