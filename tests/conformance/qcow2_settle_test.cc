// Writes that outlive the process: what has completed is in the file, whoever looks.
// One case again: ASHLAR_SETTLE=<image>:<seed>; many more: ASHLAR_SOAK=1.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "ashlar/backend.h"
#include "async/on_loop.h"
#include "async/sync.h"
#include "testing/prepared_images.h"
#include "testing/seeded_random.h"
#include "testing/simulated_image.h"

namespace ashlar {
namespace {

constexpr unsigned kLoops = 3;

/// Writes to parts of a disk that do not overlap, several at a time.
class Life {
 public:
  Life(const PreparedImage& prepared, uint64_t seed)
      : random_(seed),
        shape_(prepared.shape),
        image_({.seed = seed, .loops = kLoops, .disk_alignment = prepared.disk_alignment},
               prepared.files) {}

  std::string run() {
    sync_wait(image_.runtime(), live());
    return failure_;
  }

 private:
  struct Part {
    ByteRange range;
    uint8_t value = 0;  ///< 0: write zeroes
  };

  Task<void> live() {
    if (const Result<void> opened = co_await image_.open(); !opened) co_return note("open");
    Scope scope;
    uint64_t at = 0;
    const uint64_t size = shape_.size;
    while (at < size) {
      const uint64_t length = 512 * random_.between(1, 2 * shape_.cluster_size() / 512 + 2);
      const Part part{{at, std::min(length, size - at)}, static_cast<uint8_t>(random_.below(200))};
      at += part.range.length + 512 * random_.below(4);
      const auto loop = static_cast<unsigned>(random_.below(kLoops));
      if (random_.one_in(4)) co_await scope.join();
      scope.spawn(one(part, loop));
    }
    co_await scope.join();
    if (const Result<void> closed = co_await image_.close(); !closed) note("close");
  }

  Task<void> one(Part part, unsigned loop) {
    OnLoop<Result<void>> there(image_.runtime().loop(loop), write(part));
    const Result<void> done = co_await there;
    if (!done) co_return note(done.error().message());
    look(part);
  }

  Task<Result<void>> write(Part part) {
    if (part.value == 0) {
      ZeroFlags flags;
      flags.outlives_process = true;
      co_return co_await image_.backend().write_zeroes(part.range, flags);
    }
    const std::vector<std::byte> bytes(part.range.length, std::byte{part.value});
    WriteFlags flags;
    flags.outlives_process = true;
    co_return co_await image_.backend().write(part.range, ConstBuffers(std::span(bytes)), flags);
  }

  /// What another process would find now, without this one.
  void look(const Part& part) {
    const Qcow2Audit audit = image_.audit();
    if (!audit.corruptions().empty()) return note(audit.describe());
    std::vector<std::byte> found(part.range.length);
    audit.read(part.range.offset, found, image_.beside());
    const std::vector<std::byte> wanted(part.range.length, std::byte{part.value});
    if (found != wanted) note(fmt::format("{:#x} is not in the file", part.range.offset));
  }

  void note(std::string what) {
    if (failure_.empty()) failure_ = std::move(what);
  }

  SeededRandom random_;
  Qcow2Shape shape_;
  SimulatedImage image_;
  std::string failure_;
};

class Qcow2Settle : public testing::TestWithParam<size_t> {};

TEST_P(Qcow2Settle, LeavesNothingThatOnlyTheProcessKnows) {
  const PreparedImage image = prepared_images()[GetParam()];
  uint64_t first = 1;
  uint64_t last = std::getenv("ASHLAR_SOAK") != nullptr ? 5'000 : 100;
  if (const char* chosen = std::getenv("ASHLAR_SETTLE")) {
    char* seed = nullptr;
    if (std::strtoull(chosen, &seed, 10) != GetParam()) GTEST_SKIP();
    first = last = std::strtoull(seed + 1, nullptr, 10);
  }
  for (uint64_t seed = first; seed <= last; ++seed) {
    const std::string failure = Life(image, seed).run();
    ASSERT_EQ(failure, "") << "ASHLAR_SETTLE=" << GetParam() << ":" << seed << " replays it";
  }
}

INSTANTIATE_TEST_SUITE_P(Images, Qcow2Settle, testing::Range<size_t>(0, prepared_images().size()));

}  // namespace
}  // namespace ashlar
