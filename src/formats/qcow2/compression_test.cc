// Tests of compressed clusters: round trips, other encoders' streams, hostile input.
#include "formats/qcow2/compression.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <random>
#include <string>
#include <thread>

namespace ashlar::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;

/// Text with long and short repeats, or noise.
Bytes text(size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string out;
  while (out.size() < size) out += "cluster " + std::to_string(random() % 5000) + " of the disk, ";
  const auto bytes = std::as_bytes(std::span(out)).first(size);
  return {bytes.begin(), bytes.end()};
}
Bytes noise(size_t size) {
  std::mt19937 random(7);
  Bytes out(size);
  for (std::byte& byte : out) byte = static_cast<std::byte>(random());
  return out;
}

Bytes compressed(Codec& codec, const Bytes& in) {
  Bytes out(in.size());
  out.resize(codec.compress(in, out));
  return out;
}

/// A raw deflate stream of `in`, as the peer writes it.
Bytes deflated(std::span<const std::byte> in, int window_bits) {
  Bytes out(in.size() + 1024);
  z_stream stream = {};
  deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -window_bits, 9, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

Bytes zstd_frame(std::span<const std::byte> in, int window_log = 0) {
  Bytes out(ZSTD_compressBound(in.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  // Without the content size, so that the frame states its window.
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  ZSTD_inBuffer input = {in.data(), in.size(), 0};
  ZSTD_outBuffer output = {out.data(), out.size(), 0};
  while (input.pos < input.size) ZSTD_compressStream2(context, &output, &input, ZSTD_e_continue);
  while (ZSTD_compressStream2(context, &output, &input, ZSTD_e_end) != 0) {
  }
  ZSTD_freeCCtx(context);
  out.resize(output.pos);
  return out;
}

Bytes joined(Bytes a, std::span<const std::byte> b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class Qcow2Codec : public testing::TestWithParam<CompressionType> {};

TEST_P(Qcow2Codec, ReadsBackWhatItWroteAtEveryClusterSize) {
  Codec codec(GetParam());
  for (unsigned bits = 9; bits <= 21; ++bits) {
    const Bytes in = text(size_t{1} << bits);
    const Bytes packed = compressed(codec, in);
    ASSERT_GT(packed.size(), 0u) << bits;
    ASSERT_LT(packed.size(), in.size()) << bits;
    Bytes out(in.size());
    ASSERT_TRUE(codec.decompress(packed, out)) << bits;
    EXPECT_EQ(out, in) << bits;
  }
}

TEST_P(Qcow2Codec, DoesNotStoreWhatDoesNotGetSmaller) {
  Codec codec(GetParam());
  EXPECT_EQ(compressed(codec, noise(65536)).size(), 0u);
  Bytes small(16);
  EXPECT_EQ(codec.compress(text(65536), small), 0u);  // no room
}

TEST_P(Qcow2Codec, IgnoresWhatFollowsTheData) {
  Codec codec(GetParam());
  const Bytes in = text(65536);
  Bytes out(in.size());
  ASSERT_TRUE(codec.decompress(joined(compressed(codec, in), noise(511)), out));
  EXPECT_EQ(out, in);
}

TEST_P(Qcow2Codec, RefusesEveryTruncation) {
  Codec codec(GetParam());
  const Bytes in = text(4096);
  const Bytes packed = compressed(codec, in);
  Bytes out(in.size());
  // The last bytes may be no more than the mark of the end, which is not needed.
  for (size_t size = 0; size + 8 < packed.size(); ++size) {
    const auto done = codec.decompress(std::span(packed).first(size), out);
    ASSERT_FALSE(done) << size;
    ASSERT_EQ(done.error().reason(), "qcow2-decompress");
    ASSERT_EQ(done.error().code(), ErrorCode::kCorrupt);
  }
}

TEST_P(Qcow2Codec, SurvivesEveryFlippedBit) {
  Codec codec(GetParam());
  Bytes packed = compressed(codec, text(4096));
  Bytes out(4096);
  for (size_t bit = 0; bit < packed.size() * 8; ++bit) {
    const auto mask = static_cast<std::byte>(1 << bit % 8);
    packed[bit / 8] ^= mask;
    (void)codec.decompress(packed, out);  // some damage decodes to something else; none may crash
    packed[bit / 8] ^= mask;
  }
  EXPECT_TRUE(codec.decompress(packed, out));
  EXPECT_FALSE(codec.decompress(noise(4096), out));
}

TEST_P(Qcow2Codec, RefusesDataThatGivesLessThanACluster) {
  Codec codec(GetParam());
  Bytes out(8192);
  EXPECT_FALSE(codec.decompress(compressed(codec, text(4096)), out));
  EXPECT_FALSE(codec.decompress({}, out));
}

TEST_P(Qcow2Codec, WorksFromSeveralThreadsAtOnce) {
  Codec codec(GetParam());
  std::vector<std::jthread> threads;
  std::atomic<int> wrong{0};
  for (unsigned thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&codec, &wrong, thread] {
      const Bytes in = text(16384, thread);
      for (int round = 0; round < 20; ++round) {
        Bytes out(in.size());
        if (!codec.decompress(compressed(codec, in), out) || out != in) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(All, Qcow2Codec,
                         testing::Values(CompressionType::kDeflate, CompressionType::kZstd),
                         [](const auto& info) {
                           return info.param == CompressionType::kZstd ? "Zstd" : "Deflate";
                         });

TEST(Qcow2Deflate, ReadsThePeersStreams) {
  Codec codec(CompressionType::kDeflate);
  const Bytes in = text(65536);
  for (int window_bits : {12, 15}) {
    Bytes out(in.size());
    ASSERT_TRUE(codec.decompress(deflated(in, window_bits), out));
    EXPECT_EQ(out, in);
  }
}

TEST(Qcow2Deflate, IsReadByADecoderWithASmallWindowInOneCall) {
  Codec codec(CompressionType::kDeflate);
  // Far repeats, which the peer's decoder accepts because it has the whole cluster as window.
  Bytes in = noise(8192);
  in = joined(joined(in, text(40000)), in);
  Bytes packed = compressed(codec, in);
  Bytes out(in.size());
  z_stream stream = {};
  inflateInit2(&stream, -12);
  stream.next_in = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  inflateEnd(&stream);
  EXPECT_EQ(out, in);
}

TEST(Qcow2Deflate, StopsAtTheEndOfTheCluster) {
  Codec codec(CompressionType::kDeflate);
  const Bytes in = text(10000);
  Bytes out(4096);
  ASSERT_TRUE(codec.decompress(deflated(in, 15), out));
  EXPECT_TRUE(std::equal(out.begin(), out.end(), in.begin()));
}

TEST(Qcow2Deflate, KeepsToASmallWindowWhenAsked) {
  // A block that repeats at a distance of 8 KiB is only found with the large window.
  Bytes in = noise(8192);
  in = joined(in, in);
  Codec large(CompressionType::kDeflate);
  Codec small(CompressionType::kDeflate, DeflateWindow::k4KiB);
  EXPECT_LT(compressed(large, in).size(), 10000u);
  EXPECT_GT(compressed(large, in).size(), 0u);
  EXPECT_EQ(compressed(small, in).size(), 0u);
}

TEST(Qcow2Zstd, ReadsAClusterOfSeveralFrames) {
  Codec codec(CompressionType::kZstd);
  const Bytes in = text(8192);
  const auto half = std::span(in);
  Bytes out(in.size());
  ASSERT_TRUE(
      codec.decompress(joined(zstd_frame(half.first(5000)), zstd_frame(half.subspan(5000))), out));
  EXPECT_EQ(out, in);
}

TEST(Qcow2Zstd, RefusesFramesLargerThanTheCluster) {
  Codec codec(CompressionType::kZstd);
  Bytes out(4096);
  EXPECT_FALSE(codec.decompress(zstd_frame(text(4097)), out));
}

TEST(Qcow2Zstd, RefusesWindowsThatReadersDoNotGrant) {
  Codec codec(CompressionType::kZstd);
  const Bytes in = text(4096);
  Bytes out(in.size());
  Bytes frame = zstd_frame(in, 27);
  ASSERT_TRUE(codec.decompress(frame, out));
  frame[5] = std::byte{(31 - 10) << 3};  // window log 31
  EXPECT_FALSE(codec.decompress(frame, out));
}

}  // namespace
}  // namespace ashlar::qcow2
