// Compressed clusters. Deflate is written by ISA-L and read by libdeflate, with zlib for streams
// that only a decoder which stops at the end of the cluster accepts.
#include "formats/qcow2/compression.h"

#include <fmt/format.h>
#include <isa-l/igzip_lib.h>
#include <libdeflate.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>

#include "base/endian.h"

namespace ashlar::qcow2 {
namespace {

// Level 3 with a 32 KiB window is the fastest that stays within 2 % of the peer's sizes.
constexpr unsigned kDeflateLevel = 3;
constexpr unsigned kZstdLevel = 3;  // as the peer
constexpr size_t kMaxIdleContexts = 16;
// The largest window that zstd's own streaming decoders take without being asked.
constexpr unsigned kMaxZstdWindowLog = 27;

struct CloseInflate {
  void operator()(libdeflate_decompressor* decoder) const { libdeflate_free_decompressor(decoder); }
};
struct CloseZstdEncoder {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
struct CloseZstdDecoder {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

struct DeflateEncoder {
  isal_zstream stream;
  std::array<uint8_t, ISAL_DEF_LVL3_DEFAULT> memory;
};

Error damaged(std::string_view what, size_t produced, size_t wanted) {
  return Error(ErrorCode::kCorrupt,
               fmt::format("compressed cluster: {} after {} of {} bytes", what, produced, wanted))
      .because("qcow2-decompress");
}

size_t deflate_with(DeflateEncoder& encoder, DeflateWindow window, std::span<const std::byte> in,
                    std::span<std::byte> out) {
  isal_zstream& stream = encoder.stream;
  isal_deflate_stateless_init(&stream);
  stream.level = kDeflateLevel;
  stream.level_buf = encoder.memory.data();
  stream.level_buf_size = static_cast<uint32_t>(encoder.memory.size());
  stream.hist_bits = window == DeflateWindow::k4KiB ? 12 : 0;  // 0: the largest, 15
  stream.end_of_stream = 1;
  stream.flush = NO_FLUSH;
  // The library's interface lacks const; it only reads the input.
  stream.next_in = reinterpret_cast<uint8_t*>(const_cast<std::byte*>(in.data()));
  stream.avail_in = static_cast<uint32_t>(in.size());
  stream.next_out = reinterpret_cast<uint8_t*>(out.data());
  stream.avail_out = static_cast<uint32_t>(out.size());
  return isal_deflate_stateless(&stream) == COMP_OK ? stream.total_out : 0;
}

/// Accepts what the format allows and whole-stream decoders refuse: a stream that goes on past the
/// cluster, or that lacks its end although the cluster is complete.
Result<void> inflate_up_to_a_cluster(std::span<const std::byte> in, std::span<std::byte> out) {
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
    return fail(ErrorCode::kNoMemory, "no memory for decompression");
  }
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = inflate(&stream, Z_FINISH);
  const size_t produced = out.size() - stream.avail_out;
  inflateEnd(&stream);
  const bool ended_well = status == Z_STREAM_END || status == Z_BUF_ERROR;
  if (ended_well && produced == out.size()) return ok();
  return fail(
      damaged(ended_well ? "deflate stream ends" : "invalid deflate data", produced, out.size()));
}

Result<void> inflate_cluster(libdeflate_decompressor& decoder, std::span<const std::byte> in,
                             std::span<std::byte> out) {
  size_t consumed = 0;
  size_t produced = 0;
  const libdeflate_result result = libdeflate_deflate_decompress_ex(
      &decoder, in.data(), in.size(), out.data(), out.size(), &consumed, &produced);
  if (result == LIBDEFLATE_SUCCESS && produced == out.size()) return ok();
  return inflate_up_to_a_cluster(in, out);
}

/// Whether the frame at the start of `in` asks for a larger window than a streaming decoder grants.
bool window_is_too_large(std::span<const std::byte> in) {
  constexpr std::byte kSingleSegment{0x20};
  constexpr uint32_t kFrameMagic = 0xfd2fb528;
  if (in.size() < 6 || load_le<uint32_t>(in.data()) != kFrameMagic) return false;
  if ((in[4] & kSingleSegment) != std::byte{0}) return false;  // the window is the content
  const auto descriptor = std::to_integer<unsigned>(in[5]);
  const unsigned log = 10 + (descriptor >> 3);
  return log > kMaxZstdWindowLog || (log == kMaxZstdWindowLog && (descriptor & 7) != 0);
}

/// Decodes frames until the cluster is full. Each goes straight into its place, so that no window
/// is allocated, whatever the frame asks for.
Result<void> decode_zstd(ZSTD_DCtx& decoder, std::span<const std::byte> in,
                         std::span<std::byte> out) {
  size_t produced = 0;
  while (produced < out.size()) {
    const size_t frame = ZSTD_findFrameCompressedSize(in.data(), in.size());
    if (ZSTD_isError(frame)) {
      return fail(
          damaged(in.empty() ? "zstd data ends" : "invalid zstd frame", produced, out.size()));
    }
    if (window_is_too_large(in)) {
      return fail(damaged("zstd window is larger than 128 MiB", produced, out.size()));
    }
    const auto rest = out.subspan(produced);
    const size_t count = ZSTD_decompressDCtx(&decoder, rest.data(), rest.size(), in.data(), frame);
    if (ZSTD_isError(count)) {
      return fail(damaged(ZSTD_getErrorName(count), produced, out.size()));
    }
    produced += count;
    in = in.subspan(frame);
  }
  return ok();
}

}  // namespace

/// What one call needs. Parts are made when they are first used.
struct Codec::Context {
  std::unique_ptr<DeflateEncoder> deflate;
  std::unique_ptr<libdeflate_decompressor, CloseInflate> inflate;
  std::unique_ptr<ZSTD_CCtx, CloseZstdEncoder> zstd_encoder;
  std::unique_ptr<ZSTD_DCtx, CloseZstdDecoder> zstd_decoder;
};

/// A context for the time of one call.
class Codec::Lease {
 public:
  explicit Lease(Codec& codec) : codec_(codec), context_(codec.take()) {}
  ~Lease() { codec_.give_back(std::move(context_)); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Context* operator->() { return context_.get(); }

 private:
  Codec& codec_;
  std::unique_ptr<Context> context_;
};

Codec::Codec(CompressionType type, DeflateWindow window) : type_(type), window_(window) {}
Codec::~Codec() = default;

std::unique_ptr<Codec::Context> Codec::take() {
  {
    const std::lock_guard guard(lock_);
    if (!idle_.empty()) {
      auto context = std::move(idle_.back());
      idle_.pop_back();
      return context;
    }
  }
  return std::make_unique<Context>();
}

void Codec::give_back(std::unique_ptr<Context> context) {
  const std::lock_guard guard(lock_);
  if (idle_.size() < kMaxIdleContexts) idle_.push_back(std::move(context));
}

size_t Codec::compress(std::span<const std::byte> in, std::span<std::byte> out) {
  if (in.empty()) return 0;
  const auto room = out.first(std::min(out.size(), in.size() - 1));
  Lease context(*this);
  if (type_ == CompressionType::kDeflate) {
    if (!context->deflate) context->deflate = std::make_unique<DeflateEncoder>();
    return deflate_with(*context->deflate, window_, in, room);
  }
  if (!context->zstd_encoder) context->zstd_encoder.reset(ZSTD_createCCtx());
  if (!context->zstd_encoder) return 0;
  const size_t count = ZSTD_compressCCtx(context->zstd_encoder.get(), room.data(), room.size(),
                                         in.data(), in.size(), kZstdLevel);
  return ZSTD_isError(count) ? 0 : count;
}

Result<void> Codec::decompress(std::span<const std::byte> in, std::span<std::byte> out) {
  Lease context(*this);
  if (type_ == CompressionType::kDeflate) {
    if (!context->inflate) context->inflate.reset(libdeflate_alloc_decompressor());
    if (!context->inflate) return inflate_up_to_a_cluster(in, out);
    return inflate_cluster(*context->inflate, in, out);
  }
  if (!context->zstd_decoder) context->zstd_decoder.reset(ZSTD_createDCtx());
  if (!context->zstd_decoder) return fail(ErrorCode::kNoMemory, "no memory for decompression");
  return decode_zstd(*context->zstd_decoder, in, out);
}

}  // namespace ashlar::qcow2
