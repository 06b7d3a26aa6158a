// Files pass the suite of all devices, in every way in which they can be opened.
#include <gtest/gtest.h>

#include <filesystem>

#include "testing/conformance.h"
#include "testing/peer_process.h"
#include "testing/temporary_folder.h"

namespace ashlar {
namespace {

ConformanceSubject files_in(const TemporaryFolder& folder) {
  ConformanceSubject subject;
  subject.runtime.io_loops = 2;
  subject.make = [&folder](uint64_t size) {
    std::filesystem::remove(folder.path("disk"));
    std::filesystem::resize_file(folder.file("disk"), size);
    OptionDict options;
    options.set("driver", std::string("file"));
    options.set("filename", folder.path("disk"));
    return options;
  };
  return subject;
}

TEST(FileConformance, Buffered) {
  const TemporaryFolder folder;
  EXPECT_EQ(run_conformance(files_in(folder)), "");
}

TEST(FileConformance, Direct) {
  const TemporaryFolder folder;
  ConformanceSubject subject = files_in(folder);
  subject.flags.cache_direct = true;
  EXPECT_EQ(run_conformance(subject), "");
}

TEST(FileConformance, UnmappingWithoutFlushes) {
  const TemporaryFolder folder;
  ConformanceSubject subject = files_in(folder);
  subject.flags.discard = OpenFlags::Discard::kUnmap;
  subject.flags.cache_no_flush = true;
  EXPECT_EQ(run_conformance(subject), "");
}

TEST(FileConformance, WithoutARing) {
  const TemporaryFolder folder;
  ConformanceSubject subject = files_in(folder);
  subject.runtime.files = RuntimeOptions::FileBackend::kThreads;
  subject.flags.discard = OpenFlags::Discard::kUnmap;
  EXPECT_EQ(run_conformance(subject), "");
}

/// A file as a block device, where one may make such devices.
class LoopDevice {
 public:
  ~LoopDevice() { detach(); }
  bool attach(const std::string& path) {
    detach();
    const CommandResult result = run_command("losetup --find --show " + path);
    if (result.succeeded) name_ = result.output.substr(0, result.output.find('\n'));
    return result.succeeded;
  }
  const std::string& name() const { return name_; }

 private:
  void detach() {
    if (!name_.empty()) run_command("losetup --detach " + name_);
    name_.clear();
  }
  std::string name_;
};

TEST(HostDeviceConformance, LoopDevices) {
  const TemporaryFolder folder;
  LoopDevice device;
  if (!device.attach(folder.file("disk", std::string(4096, 'x')))) {
    GTEST_SKIP() << "no permission to make loop devices";
  }
  ConformanceSubject subject;
  subject.runtime.io_loops = 2;
  subject.flags.discard = OpenFlags::Discard::kUnmap;
  subject.make = [&](uint64_t size) {
    std::filesystem::resize_file(folder.file("disk"), size);
    EXPECT_TRUE(device.attach(folder.path("disk")));
    OptionDict options;
    options.set("driver", std::string("host_device"));
    options.set("filename", device.name());
    return options;
  };
  EXPECT_EQ(run_conformance(subject), "");
  subject.flags.cache_direct = true;
  EXPECT_EQ(run_conformance(subject), "");
}

}  // namespace
}  // namespace ashlar
