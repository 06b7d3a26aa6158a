// The cases of the conformance suite that need one loop only, and the list of all.
#include "testing/conformance.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/zero_scan.h"
#include "testing/conformance_bench.h"

namespace ashlar::conformance {
namespace {

using Keeps = ConformanceSubject::Keeps;

void has_the_size_it_was_made_with(Bench& bench) {
  if (bench.device().size() != kSize) {
    bench.report(fmt::format("size is {} instead of {}", bench.device().size(), kSize));
  }
}

void reads_zeroes_when_fresh(Bench& bench) {
  if (bench.device().node().info().fresh == NodeInfo::Fresh::kZeroes) bench.check_all();
}

void takes_requests_of_no_length(Bench& bench) {
  for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, kSize / 2, kSize}) {
    const ByteRange nothing{offset, 0};
    bench.check(nothing);
    bench.write(nothing);
    bench.write_zeroes(nothing);
    bench.expect_success(bench.device().discard(nothing), "discard nothing");
  }
  bench.check_all();
}

void refuses_what_is_out_of_range(Bench& bench) {
  bench.write({kSize - 4096, 4096});
  const ByteRange ranges[] = {{kSize, 1},           {kSize - 1, 2},      {kSize - 512, 1024},
                              {kSize + 512, 512},   {kMaxDeviceSize, 1}, {UINT64_MAX - 511, 512},
                              {UINT64_MAX - 10, 64}};
  for (const ByteRange& range : ranges) {
    const std::vector<std::byte> bytes = bench.random_bytes(range.length);
    const std::string what = describe(range);
    const auto read = bench.device().read(range);
    bench.expect_error(read ? Result<void>() : fail(read.error()), ErrorCode::kOutOfRange,
                       "read of " + what);
    bench.expect_error(bench.device().write(range.offset, bytes), ErrorCode::kOutOfRange,
                       "write of " + what);
    bench.expect_error(bench.device().write_zeroes(range), ErrorCode::kOutOfRange,
                       "zeroing of " + what);
    bench.expect_error(bench.device().discard(range), ErrorCode::kOutOfRange, "discard of " + what);
  }
  has_the_size_it_was_made_with(bench);
  bench.check({kSize - 4096, 4096});
}

void keeps_writes_of_any_alignment(Bench& bench) {
  constexpr uint64_t kPlaces[] = {0, 511, 512, 4095, 4096, 65'535, 65'536, 131'071};
  constexpr uint64_t kLengths[] = {1, 511, 512, 513, 4096, 4097, 65'537};
  for (const uint64_t place : kPlaces) {
    for (const uint64_t length : kLengths) {
      const ByteRange range{place + 1'000'000, length};
      bench.write(range);
      bench.check({range.offset - 600, length + 1200});  // and its neighbours are as they were
    }
  }
  bench.write({0, 1});
  bench.write({kSize - 1, 1});
  bench.write({kSize - 700, 700});
  bench.check_all();
}

void moves_large_requests(Bench& bench) {
  bench.write({0, kSize});
  bench.check_all();
  bench.write({3, kSize - 7});
  bench.check_all();
  bench.check({1, kSize - 2});
}

/// `bytes` cut into segments of all lengths up to 211, empty ones between.
template <typename Byte>
std::vector<std::span<Byte>> in_segments(std::span<Byte> bytes, size_t step) {
  std::vector<std::span<Byte>> segments;
  for (size_t length = 1; !bytes.empty(); length = (length + step) % 211 + 1) {
    const size_t part = std::min(length, bytes.size());
    segments.push_back(bytes.first(part));
    segments.push_back(bytes.first(0));
    bytes = bytes.subspan(part);
  }
  return segments;
}

/// More segments than the kernel takes at once, at odd places in memory.
void takes_memory_in_many_segments(Bench& bench) {
  const ByteRange range{777, 300'000};
  std::vector<std::byte> bytes = bench.random_bytes(range.length);
  for (const size_t step : {size_t{1}, size_t{37}, size_t{100}}) {
    bench.random().fill(bytes);
    const auto sources = in_segments(std::span<const std::byte>(bytes), step);
    Runtime& runtime = bench.device().runtime();
    Backend& backend = bench.device().backend();
    const ConstBuffers from{std::span(sources)};
    bench.expect_success(sync_wait(runtime, backend.write(range, from, {})), "gathering write");
    std::ranges::copy(bytes, bench.model().begin() + static_cast<ptrdiff_t>(range.offset));
    bench.check({0, 400'000});

    std::vector<std::byte> read(range.length);
    const auto targets = in_segments(std::span(read), step + 1);
    const MutableBuffers into{std::span(targets)};
    bench.expect_success(sync_wait(runtime, backend.read(range, into)), "scattering read");
    if (bench.keeps_data() && read != bytes) bench.report("a scattering read gave wrong bytes");
  }
}

void zeroes_what_it_is_told_to(Bench& bench) {
  for (const bool unmap : {false, true}) {
    ZeroFlags flags;
    flags.may_unmap = unmap;
    bench.write({0, kSize});
    for (const ByteRange& range :
         {ByteRange{0, 1}, ByteRange{513, 2000}, ByteRange{65536, 65536},
          ByteRange{200'001, 300'000}, ByteRange{kSize - 5000, 5000}, ByteRange{1_MiB, 128_KiB}}) {
      bench.write_zeroes(range, flags);
    }
    bench.check_all();
    flags.fua = true;
    bench.write_zeroes({0, kSize}, flags);
    bench.check_all();
  }
}

void zeroes_without_writing_or_not_at_all(Bench& bench) {
  bench.write({0, kSize});
  ZeroFlags flags;
  flags.no_fallback = true;
  const ByteRange range{128_KiB, 256_KiB};
  const Result<void> done = bench.device().write_zeroes(range, flags);
  if (done) {
    std::fill_n(bench.model().begin() + 128_KiB, 256_KiB, std::byte{0});
  } else {
    bench.expect_error(done, ErrorCode::kUnsupported, "zeroing without writing");
  }
  bench.check_all();
}

void discards_nothing_else(Bench& bench) {
  bench.write({0, kSize});
  const ByteRange range{100'000, 700'001};
  bench.expect_success(bench.device().discard(range), "discard");
  bench.check({0, range.offset});
  bench.check({range.end(), kSize - range.end()});
  bench.write(range);
  bench.check_all();
}

void reads_what_was_written_over_zeroes_and_discards(Bench& bench) {
  ZeroFlags unmap;
  unmap.may_unmap = true;
  for (int round = 0; round < 3; ++round) {
    bench.write({64_KiB, 256_KiB});
    bench.write_zeroes({128_KiB, 64_KiB}, unmap);
    bench.expect_success(bench.device().discard({192_KiB, 64_KiB}), "discard");
    bench.write({140'000, 70'000});
    bench.write({192_KiB, 64_KiB});
    bench.check({0, 512_KiB});
  }
}

void flushes(Bench& bench) {
  bench.expect_success(bench.device().flush(), "flush of a fresh device");
  bench.write({4096, 8192});
  bench.expect_success(bench.device().flush(), "flush");
  WriteFlags durable;
  durable.fua = true;
  bench.write({100, 5000}, durable);
  bench.expect_success(bench.device().flush(), "flush after a durable write");
  bench.check_all();
}

/// Walks over the device. Every byte is in one extent, and zeroes are zeroes.
void check_status(Bench& bench) {
  for (uint64_t at = 0; at < bench.size();) {
    const ByteRange rest{at, bench.size() - at};
    const Result<Extent> extent = bench.device().status(rest);
    if (!extent) return bench.report("status: " + extent.error().message());
    if (extent->length == 0 || extent->length > rest.length) {
      return bench.report(
          fmt::format("status of {} has length {}", describe(rest), extent->length));
    }
    const std::span<const std::byte> bytes = std::span(bench.model()).subspan(at, extent->length);
    if (extent->zero && bench.keeps_data() && !is_zero(bytes)) {
      bench.report("status calls " + describe({at, extent->length}) + " zero");
    }
    at += extent->length;
  }
}

void tells_zeroes_from_data(Bench& bench) {
  check_status(bench);
  bench.write({100'000, 1000});
  check_status(bench);
  bench.write({1_MiB, 256_KiB});
  check_status(bench);
  ZeroFlags unmap;
  unmap.may_unmap = true;
  bench.write_zeroes({1_MiB + 64_KiB, 64_KiB}, unmap);
  check_status(bench);
  bench.write({1_MiB + 100_KiB, 512});
  check_status(bench);
  bench.write({kSize - 1, 1});
  check_status(bench);
  const Result<Extent> none = bench.device().status({kSize - 1, 1});
  if (!none || none->length != 1) bench.report("status of the last byte");
}

void grows_with_zeroes_and_shrinks(Bench& bench) {
  bench.write({0, kSize});
  const Result<void> grown = bench.device().resize(kSize + 1_MiB, {});
  if (!grown) {
    bench.expect_error(grown, ErrorCode::kUnsupported, "growing");
    return has_the_size_it_was_made_with(bench);
  }
  bench.model().resize(kSize + 1_MiB);
  bench.check_all();
  bench.write({kSize - 100, 50'000});
  const Result<void> shrunk = bench.device().resize(700'416, {});
  if (!shrunk) {
    bench.expect_error(shrunk, ErrorCode::kUnsupported, "shrinking");
    return bench.check_all();
  }
  bench.model().resize(700'416);
  if (bench.device().size() != bench.size()) bench.report("size is wrong after shrinking");
  bench.check_all();
  bench.expect_error(bench.device().write_pattern({700'000, 512}, 1), ErrorCode::kOutOfRange,
                     "write past the new end");
  bench.expect_success(bench.device().resize(kSize, {}), "growing again");
  bench.model().resize(kSize);
  bench.check_all();
}

void holds_against_a_random_history(Bench& bench) {
  const unsigned steps = 400;
  for (unsigned step = 0; step < steps && !bench.failed(); ++step) {
    const ByteRange range = bench.random_range(bench.random().one_in(8) ? 600'000 : 20'000);
    switch (bench.random().below(8)) {
      case 0:
      case 1:
      case 2: {
        WriteFlags flags;
        flags.fua = bench.random().one_in(64);
        bench.write(range, flags);
        break;
      }
      case 3: {
        ZeroFlags flags;
        flags.may_unmap = bench.random().one_in(2);
        bench.write_zeroes(range, flags);
        break;
      }
      case 4:
        if (bench.random().one_in(8)) bench.expect_success(bench.device().flush(), "flush");
        break;
      default:
        bench.check(range);
    }
    if (step % 64 == 0) check_status(bench);
  }
  bench.check_all();
}

void keeps_data_when_closed(Bench& bench) {
  if (bench.subject().keeps != Keeps::kEverything) return;
  bench.write({0, 300'000});
  bench.write({kSize - 999, 999});
  bench.write_zeroes({100'000, 70'000});
  bench.reopen(bench.subject().flags);
  has_the_size_it_was_made_with(bench);
  bench.check_all();
  check_status(bench);
}

void refuses_to_write_when_read_only(Bench& bench) {
  if (bench.subject().keeps != Keeps::kEverything) return;
  bench.write({0, 100'000});
  OpenFlags flags = bench.subject().flags;
  flags.read_only = true;
  bench.reopen(flags);
  TestDevice& device = bench.device();
  bench.expect_error(device.write_pattern({0, 512}, 1), ErrorCode::kReadOnly, "write");
  bench.expect_error(device.write_zeroes({0, 512}), ErrorCode::kReadOnly, "zeroing");
  bench.expect_error(device.discard({0, 512}), ErrorCode::kReadOnly, "discard");
  bench.expect_error(device.resize(kSize * 2, {}), ErrorCode::kReadOnly, "resize");
  bench.check_all();
  bench.expect_success(device.flush(), "flush");
}

struct Case {
  const char* name;
  void (*run)(Bench& bench);
};
constexpr Case kCases[] = {
    {"size", has_the_size_it_was_made_with},
    {"fresh", reads_zeroes_when_fresh},
    {"no length", takes_requests_of_no_length},
    {"out of range", refuses_what_is_out_of_range},
    {"alignment", keeps_writes_of_any_alignment},
    {"large", moves_large_requests},
    {"segments", takes_memory_in_many_segments},
    {"zeroes", zeroes_what_it_is_told_to},
    {"zeroes without writing", zeroes_without_writing_or_not_at_all},
    {"discard", discards_nothing_else},
    {"write over zeroes", reads_what_was_written_over_zeroes_and_discards},
    {"flush", flushes},
    {"status", tells_zeroes_from_data},
    {"resize", grows_with_zeroes_and_shrinks},
    {"history", holds_against_a_random_history},
    {"reopen", keeps_data_when_closed},
    {"read-only", refuses_to_write_when_read_only},
    {"several loops", from_several_loops},
    {"neighbours", neighbours_at_once},
};

}  // namespace
}  // namespace ashlar::conformance

namespace ashlar {

std::string run_conformance(const ConformanceSubject& subject) {
  std::string failures;
  for (const conformance::Case& each : conformance::kCases) {
    const auto bench = std::make_unique<conformance::Bench>(subject, each.name);
    if (!bench->failed()) each.run(*bench);
    failures += bench->failures();
  }
  return failures;
}

}  // namespace ashlar
