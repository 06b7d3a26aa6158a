// The FUSE export, mounted: what clients of the file see while media come and go.
#include "exports/fuse/fuse.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <thread>

#include "async/on_loop.h"
#include "testing/peer_process.h"
#include "testing/temporary_folder.h"
#include "testing/test_device.h"

namespace ashlar {
namespace {

/// Runs `call` on a worker, as a client: the control loop serves its own part meanwhile.
template <typename Call>
Task<std::invoke_result_t<Call&>> call_on_worker(Call call) {
  OnWorker there(std::move(call));
  co_return co_await there;
}

bool can_mount() {
  const int fd = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

/// A device exported as a file.
class Fuse : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_mount()) GTEST_SKIP() << "NOT TESTED: /dev/fuse cannot be opened here";
    folder_.file("export", "below");
  }
  void TearDown() override { stop(); }

  void open(std::string_view options = "driver=memory,size=1M") {
    const Result<void> opened = device_.open(options);
    ASSERT_TRUE(opened) << opened.error().message();
  }
  Result<void> start(std::string_view options = "", bool writable = true) {
    OptionDict parsed = *OptionDict::parse_key_value(options);
    if (parsed.find("mountpoint") == nullptr) parsed.set("mountpoint", path());
    ExportSetup setup;
    setup.id = "test";
    setup.backend = BackendRef(&device_.backend());
    setup.writable = writable;
    setup.loops = {&device_.runtime().loop(1), &device_.runtime().loop(2)};
    setup.options = std::move(parsed);
    auto started = sync_wait(device_.runtime(), fuse_export.start(std::move(setup)));
    if (!started) return fail(started.error());
    export_ = std::move(*started);
    return ok();
  }
  void stop() {
    if (export_) sync_wait(device_.runtime(), export_->close());
    export_.reset();
  }
  std::string path() const { return folder_.path("export"); }

  template <typename Call>
  auto client(Call call) {
    return sync_wait(device_.runtime(), call_on_worker(std::move(call)));
  }
  /// Of a system call: 0 and above, or -errno.
  template <typename Call>
  int64_t answer(Call call) {
    return client([&call]() -> int64_t {
      const int64_t result = call();
      return result < 0 ? -errno : result;
    });
  }
  int open_file(int flags) {
    return static_cast<int>(answer([&] { return ::open(path().c_str(), flags | O_CLOEXEC); }));
  }
  void close_file(int fd) {
    answer([&] { return ::close(fd); });
  }
  int64_t size_seen() {
    return answer([&]() -> int64_t {
      struct stat facts{};
      return ::stat(path().c_str(), &facts) != 0 ? -1 : facts.st_size;
    });
  }
  int64_t read_byte(int fd, uint64_t offset) {
    return answer([&]() -> int64_t {
      unsigned char byte = 0;
      const ssize_t count = ::pread(fd, &byte, 1, static_cast<off_t>(offset));
      return count < 0 ? count : count == 0 ? 1000 : byte;
    });
  }

  /// What the kernel is told comes a little later.
  bool soon(const std::function<bool()>& happens) {
    for (int tries = 0; tries < 5000; ++tries) {
      if (happens()) return true;
      client([] { return ::usleep(1000); });
    }
    return false;
  }

  TemporaryFolder folder_;
  TestDevice device_{RuntimeOptions{.io_loops = 2}};
  std::unique_ptr<Export> export_;
};

TEST_F(Fuse, ShowsTheDeviceAsAFileOfItsSize) {
  open();
  ASSERT_TRUE(start());
  struct stat facts{};
  ASSERT_EQ(answer([&] { return ::stat(path().c_str(), &facts); }), 0);
  EXPECT_EQ(facts.st_size, 1 << 20);
  EXPECT_EQ(facts.st_mode, mode_t{S_IFREG | 0600});
  EXPECT_EQ(facts.st_uid, ::geteuid());
  stop();
  EXPECT_EQ(folder_.content("export"), "below");
}

TEST_F(Fuse, ReadsAndWritesOfManyClientsReachTheDevice) {
  open();
  ASSERT_TRUE(start());
  const int fd = open_file(O_RDWR);
  ASSERT_GE(fd, 0);
  // Each writes every eighth block, reads it back, and punches every third.
  auto work = [fd](int first) {
    std::vector<char> block(4096);
    for (int at = first; at < 256; at += 8) {
      const off_t offset = off_t{at} * 4096;
      std::memset(block.data(), at, block.size());
      if (::pwrite(fd, block.data(), block.size(), offset) != 4096) return 1;
      constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
      if (at % 3 == 0 && ::fallocate(fd, kPunch, offset, 4096) != 0) return 2;
      if (::pread(fd, block.data(), block.size(), offset) != 4096) return 3;
      if (block[77] != static_cast<char>(at % 3 == 0 ? 0 : at)) return 4;
    }
    return 0;
  };
  EXPECT_EQ(client([&work] {
              std::array<int, 8> failed{};
              {
                std::vector<std::jthread> threads;
                threads.reserve(8);
                for (int i = 0; i < 8; ++i) threads.emplace_back([&, i] { failed[i] = work(i); });
              }
              return std::count(failed.begin(), failed.end(), 0);
            }),
            8);
  close_file(fd);
  for (int at = 0; at < 256; ++at) {
    const ByteRange block(uint64_t(at) * 4096, 4096);
    EXPECT_TRUE(device_.holds(block, static_cast<uint8_t>(at % 3 == 0 ? 0 : at))) << at;
  }
}

TEST_F(Fuse, ServesLargeAndDirectRequestsWhole) {
  open("driver=memory,size=8M,block-size=4096");
  ASSERT_TRUE(start());
  for (const int direct : {0, O_DIRECT}) {
    const int fd = open_file(O_RDWR | direct);
    ASSERT_GE(fd, 0);
    void* memory = std::aligned_alloc(4096, 4 << 20);
    std::memset(memory, direct == 0 ? 5 : 6, 4 << 20);
    EXPECT_EQ(answer([&] { return ::pwrite(fd, memory, 4 << 20, 1 << 20); }), 4 << 20);
    std::memset(memory, 0, 4 << 20);
    EXPECT_EQ(answer([&] { return ::pread(fd, memory, 4 << 20, 1 << 20); }), 4 << 20);
    const auto* bytes = static_cast<const char*>(memory);
    EXPECT_EQ(std::count(bytes, bytes + (4 << 20), direct == 0 ? 5 : 6), 4 << 20);
    std::free(memory);
    close_file(fd);
  }
}

TEST_F(Fuse, FlushesWhenAClientAsksAndWhenAWriterCloses) {
  open();
  ASSERT_TRUE(start());
  const int fd = open_file(O_RDWR);
  const uint64_t before = device_.backend().statistics().flushes;
  EXPECT_EQ(answer([&] { return ::fsync(fd); }), 0);
  EXPECT_EQ(device_.backend().statistics().flushes, before + 1);
  close_file(fd);
  EXPECT_EQ(device_.backend().statistics().flushes, before + 2);
  close_file(open_file(O_RDONLY));
  EXPECT_EQ(device_.backend().statistics().flushes, before + 2);
}

TEST_F(Fuse, IsNotEmptiedByBeingOpened) {
  open();
  ASSERT_TRUE(start());
  close_file(open_file(O_RDWR | O_TRUNC));
  EXPECT_EQ(size_seen(), 1 << 20);
  EXPECT_EQ(device_.size(), uint64_t{1} << 20);
}

TEST_F(Fuse, ResizesWhereItMay) {
  const std::string image = folder_.file("image", std::string(1 << 20, 'x'));
  open("driver=raw,file.driver=file,file.filename=" + image);
  ASSERT_TRUE(start("growable=on"));
  const int fd = open_file(O_RDWR);
  EXPECT_EQ(answer([&] { return ::pwrite(fd, "abcd", 4, (1 << 20) + 510); }), 4);
  EXPECT_EQ(size_seen(), (1 << 20) + 1024);
  EXPECT_EQ(answer([&] { return ::ftruncate(fd, 4096); }), 0);
  EXPECT_EQ(device_.size(), 4096u);
  EXPECT_EQ(answer([&] { return ::fallocate(fd, 0, 4096, 4096); }), 0);
  EXPECT_EQ(size_seen(), 8192);
  close_file(fd);
}

TEST_F(Fuse, ShowsHolesOfTheImage) {
  open();
  ASSERT_TRUE(device_.write_pattern({65536, 65536}, 1));
  ASSERT_TRUE(start());
  const int fd = open_file(O_RDONLY);
  EXPECT_EQ(answer([&] { return ::lseek(fd, 0, SEEK_DATA); }), 65536);
  EXPECT_EQ(answer([&] { return ::lseek(fd, 65536, SEEK_HOLE); }), 131072);
  EXPECT_EQ(answer([&] { return ::lseek(fd, 131072, SEEK_DATA); }), -ENXIO);
  close_file(fd);
}

TEST_F(Fuse, RefusesWritingOnAReadOnlyExport) {
  open();
  ASSERT_TRUE(start("", false));
  const int fd = open_file(O_RDWR);  // root may open everything
  if (fd >= 0) {
    EXPECT_EQ(answer([&] { return ::pwrite(fd, "a", 1, 0); }), -EACCES);
    close_file(fd);
  }
  EXPECT_EQ(answer([&] { return ::chmod(path().c_str(), 0600); }), -EROFS);
  EXPECT_TRUE(device_.holds({0, 1 << 20}, 0));
}

TEST_F(Fuse, AnswersNoMediumWhileThereIsNone) {
  ASSERT_TRUE(start());
  EXPECT_EQ(size_seen(), 0);
  const int fd = open_file(O_RDWR);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(read_byte(fd, 0), -ENOMEDIUM);
  EXPECT_EQ(answer([&] { return ::pwrite(fd, "a", 1, 0); }), -ENOMEDIUM);
  EXPECT_EQ(answer([&] { return ::fsync(fd); }), -ENOMEDIUM);
  close_file(fd);
}

TEST_F(Fuse, ForgetsWhatItCachedWhenTheMediumChanges) {
  open();
  ASSERT_TRUE(device_.write_pattern({0, 1 << 20}, 1));
  ASSERT_TRUE(start());
  const int fd = open_file(O_RDONLY);
  EXPECT_EQ(read_byte(fd, 5000), 1);
  ASSERT_TRUE(device_.close_medium());
  EXPECT_TRUE(soon([&] { return read_byte(fd, 5000) == -ENOMEDIUM && size_seen() == 0; }));
  ASSERT_TRUE(device_.open("driver=memory,size=2M"));
  ASSERT_TRUE(device_.write_pattern({0, 1 << 20}, 2));
  EXPECT_TRUE(soon([&] { return size_seen() == 2 << 20 && read_byte(fd, 5000) == 2; }));
  ASSERT_TRUE(device_.resize(3 << 20));
  EXPECT_TRUE(soon([&] { return size_seen() == 3 << 20; }));
  EXPECT_EQ(read_byte(fd, (3 << 20) - 1), 0);
  close_file(fd);
}

TEST_F(Fuse, ChangesMediaWhileClientsReadWithoutStandingStill) {
  open();
  ASSERT_TRUE(start());
  const int fd = open_file(O_RDONLY);
  std::atomic<bool> done{false};
  std::atomic<int> reads{0};
  std::jthread reader([&] {
    std::vector<char> into(256 << 10);
    while (!done) {
      (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
      // Whether it gives anything depends on the medium of the moment.
      [[maybe_unused]] const ssize_t got =
          ::pread(fd, into.data(), into.size(), (reads++ % 4) << 18);
    }
  });
  for (int i = 0; i < 100; ++i) {
    const int before = reads;
    ASSERT_TRUE(device_.resize((1 + i % 3) << 20));
    if (i % 5 == 0) {
      ASSERT_TRUE(device_.close_medium());
      ASSERT_TRUE(device_.open("driver=memory,size=1M"));
    }
    ASSERT_TRUE(soon([&] { return reads.load() > before + 1; })) << i;
  }
  done = true;
  client([&reader] {
    reader.join();
    return 0;
  });
  close_file(fd);
}

TEST_F(Fuse, EndsWhileClientsAreInTheMiddle) {
  open("driver=null-co,size=64M,latency-ns=3000000,read-zeroes=on");
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(start());
    std::vector<std::jthread> clients;
    clients.reserve(6);
    std::atomic<int> reading{0};
    for (int i = 0; i < 6; ++i) {
      clients.emplace_back([&] {
        const int fd = ::open(path().c_str(), O_RDWR | O_DIRECT);
        void* memory = std::aligned_alloc(4096, 4096);
        ++reading;
        while (::pread(fd, memory, 4096, 0) > 0 && ::pwrite(fd, memory, 4096, 4096) > 0) {
        }
        std::free(memory);
        ::close(fd);
      });
    }
    while (reading.load() != 6) ASSERT_EQ(client([] { return ::usleep(1000); }), 0);
    stop();  // the clients find out and end
    clients.clear();
    EXPECT_EQ(folder_.content("export"), "below");
  }
}

TEST_F(Fuse, OutlivesItsUnmountingByTheUser) {
  open();
  ASSERT_TRUE(start());
  const CommandResult gone = client([&] { return run_command("fusermount3 -u " + path()); });
  EXPECT_TRUE(gone.succeeded) << gone.output;
  EXPECT_EQ(folder_.content("export"), "below");
  EXPECT_FALSE(export_->in_use());
  stop();
  ASSERT_TRUE(start());
  EXPECT_EQ(size_seen(), 1 << 20);
}

TEST_F(Fuse, OutlivesAKilledClient) {
  open("driver=null-co,size=64M,latency-ns=200000000,read-zeroes=on");
  ASSERT_TRUE(start());
  client([&] {
    return run_command("timeout -s KILL 0.1 dd of=/dev/null bs=1M iflag=direct if=" + path());
  });
  EXPECT_EQ(size_seen(), 64 << 20);
  const int fd = open_file(O_RDONLY);
  EXPECT_EQ(read_byte(fd, 12345), 0);
  close_file(fd);
}

TEST_F(Fuse, RefusesMountpointsThatAreNoFreeRegularFile) {
  open();
  const std::string missing = folder_.path("missing");
  EXPECT_EQ(start("mountpoint=" + missing).error().reason(), "fuse-mountpoint");
  const std::string itself = folder_.path(".");
  EXPECT_EQ(start("mountpoint=" + itself).error().reason(), "fuse-mountpoint-kind");
  EXPECT_EQ(start("mountpoint=/dev/null").error().reason(), "fuse-mountpoint-kind");
  EXPECT_EQ(start("allow-other=perhaps").error().reason(), "option-choice");
  EXPECT_EQ(start("volume=3").error().reason(), "option-unknown");
  ASSERT_TRUE(start());
  std::unique_ptr<Export> first = std::move(export_);
  EXPECT_EQ(start().error().reason(), "device-attached");
  ExportSetup setup;
  const Result<BackendRef> backend = device_.graph().create_backend();
  setup.backend = *backend;
  setup.loops = {&device_.runtime().loop(1)};
  setup.options.set("mountpoint", path());
  const auto second = sync_wait(device_.runtime(), fuse_export.start(std::move(setup)));
  EXPECT_EQ(second.error().reason(), "fuse-mountpoint-busy");
  export_ = std::move(first);
}

}  // namespace
}  // namespace ashlar
