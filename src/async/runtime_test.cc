// The runtime's claims, held on the ring and on the pool of blocking calls alike.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>

#include "ashlar/loop.h"
#include "async/io_operation.h"
#include "async/on_loop.h"
#include "async/sync.h"

namespace ashlar {
namespace {

using Files = RuntimeOptions::FileBackend;

class RuntimeTest : public testing::TestWithParam<Files> {
 protected:
  std::unique_ptr<Runtime> make(unsigned io_loops = 0) {
    return Runtime::create({.io_loops = io_loops, .workers = 2, .files = GetParam()});
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, RuntimeTest, testing::Values(Files::kAutomatic, Files::kThreads),
                         [](const auto& info) {
                           return info.param == Files::kAutomatic ? "Ring" : "Threads";
                         });

/// An unlinked file that goes with the test.
class TemporaryFile {
 public:
  TemporaryFile() : file_(std::tmpfile()) {}
  ~TemporaryFile() { std::fclose(file_); }
  int fd() const { return fileno(file_); }

 private:
  std::FILE* file_;
};

iovec vector_of(std::string& text) { return {.iov_base = text.data(), .iov_len = text.size()}; }

Task<int64_t> write_text(int fd, std::string text, uint64_t offset) {
  const iovec vector = vector_of(text);
  IoOperation write = IoOperation::write(fd, &vector, 1, offset);
  co_return co_await write;
}

Task<std::string> read_text(int fd, size_t size, uint64_t offset) {
  std::string text(size, '?');
  const iovec vector = vector_of(text);
  const int64_t got = co_await IoOperation::read(fd, &vector, 1, offset);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  co_return text;
}

TEST_P(RuntimeTest, ReadsBackWhatItWrote) {
  auto runtime = make();
  TemporaryFile file;
  EXPECT_EQ(sync_wait(*runtime, write_text(file.fd(), "brick", 5)), 5);
  EXPECT_EQ(sync_wait(*runtime, read_text(file.fd(), 5, 5)), "brick");
}

TEST_P(RuntimeTest, AReadPastTheEndIsShort) {
  auto runtime = make();
  TemporaryFile file;
  sync_wait(*runtime, write_text(file.fd(), "brick", 0));
  EXPECT_EQ(sync_wait(*runtime, read_text(file.fd(), 100, 3)), "ck");
}

Task<int64_t> write_two_parts(int fd) {
  std::string first = "first,";
  std::string second = "second";
  const std::array<iovec, 2> vectors = {vector_of(first), vector_of(second)};
  co_return co_await IoOperation::write(fd, vectors.data(), 2, 0);
}

TEST_P(RuntimeTest, GathersAndScatters) {
  auto runtime = make();
  TemporaryFile file;
  EXPECT_EQ(sync_wait(*runtime, write_two_parts(file.fd())), 12);
  EXPECT_EQ(sync_wait(*runtime, read_text(file.fd(), 12, 0)), "first,second");
}

Task<int64_t> allocate_and_sync(int fd, uint64_t length) {
  const int64_t allocated = co_await IoOperation::allocate(fd, 0, 0, length);
  if (allocated < 0) co_return allocated;
  co_return co_await IoOperation::data_sync(fd);
}

TEST_P(RuntimeTest, AllocatesAndSyncs) {
  auto runtime = make();
  TemporaryFile file;
  EXPECT_EQ(sync_wait(*runtime, allocate_and_sync(file.fd(), 8192)), 0);
  EXPECT_EQ(lseek(file.fd(), 0, SEEK_END), 8192);
}

TEST_P(RuntimeTest, ReportsTheErrorOfABadDescriptor) {
  auto runtime = make();
  EXPECT_EQ(sync_wait(*runtime, write_text(-1, "x", 0)), -EBADF);
  EXPECT_EQ(sync_wait(*runtime, allocate_and_sync(-1, 1)), -EBADF);
}

Task<void> write_one_byte(int fd, uint64_t offset, std::atomic<int>& good) {
  const int64_t wrote = co_await write_text(fd, std::string(1, static_cast<char>(offset)), offset);
  if (wrote == 1) ++good;
}

Task<void> write_many(int fd, int count, std::atomic<int>& good) {
  Scope scope;
  for (int at = 0; at < count; ++at) {
    scope.spawn(write_one_byte(fd, static_cast<uint64_t>(at), good));
  }
  co_await scope.join();
}

TEST_P(RuntimeTest, TakesMoreOperationsAtOnceThanTheQueueHolds) {
  auto runtime = make();
  TemporaryFile file;
  std::atomic<int> good = 0;
  sync_wait(*runtime, write_many(file.fd(), 3000, good));
  EXPECT_EQ(good, 3000);
  const std::string text = sync_wait(*runtime, read_text(file.fd(), 3000, 0));
  ASSERT_EQ(text.size(), 3000u);
  for (size_t at = 0; at < text.size(); ++at) ASSERT_EQ(text[at], static_cast<char>(at));
}

size_t open_descriptors() {
  const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

TEST_P(RuntimeTest, AFewReadsOfThePageCacheNeedNoEngine) {
  auto runtime = make();
  TemporaryFile file;
  ASSERT_EQ(pwrite(file.fd(), "brick", 5, 0), 5);
  char byte = 0;
  const iovec one = {.iov_base = &byte, .iov_len = 1};
  if (preadv2(file.fd(), &one, 1, 0, RWF_NOWAIT) != 1) {
    GTEST_SKIP() << "this file system cannot say what is cached";
  }
  const size_t before = open_descriptors();
  EXPECT_EQ(sync_wait(*runtime, read_text(file.fd(), 5, 0)), "brick");
  EXPECT_EQ(open_descriptors(), before);
  sync_wait(*runtime, write_text(file.fd(), "x", 0));
  EXPECT_GT(open_descriptors(), before);
}

/// From here on this process is refused rings, as in many containers.
void refuse_rings() {
  std::array<sock_filter, 4> program = {
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {.len = program.size(), .filter = program.data()};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
  ASSERT_EQ(syscall(SYS_io_uring_setup, 1, nullptr), -1);
  ASSERT_EQ(errno, EPERM);
}

void read_back_without_rings() {
  refuse_rings();
  auto runtime = Runtime::create();
  TemporaryFile file;
  const int64_t wrote = sync_wait(*runtime, write_text(file.fd(), "brick", 0));
  const std::string got = sync_wait(*runtime, read_text(file.fd(), 5, 0));
  std::exit(!testing::Test::HasFailure() && wrote == 5 && got == "brick" ? 0 : 1);
}

TEST(RuntimeDeathTest, WorksWhereRingsAreRefused) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // other tests may have left threads behind
  EXPECT_EXIT(read_back_without_rings(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ashlar
