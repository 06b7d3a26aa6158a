// Claims about raw images.
#include "formats/raw/raw.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "testing/conformance.h"
#include "testing/temporary_folder.h"
#include "testing/test_device.h"

namespace ashlar {
namespace {

/// Opens a raw image in a file of 1 MiB of 'x' with further options.
class Raw : public testing::Test {
 protected:
  Result<void> open(std::string_view options = {}, OpenFlags flags = {}) {
    if (!std::filesystem::exists(folder_.path("a"))) folder_.file("a", std::string(1_MiB, 'x'));
    return device_.open("driver=raw,file.driver=file,file.filename=" + folder_.path("a") + "," +
                            std::string(options),
                        flags);
  }
  std::string refusal(std::string_view options) {
    const Result<void> opened = open(options);
    if (!opened) return std::string(opened.error().reason());
    EXPECT_TRUE(device_.close_medium());
    return "opened";
  }

  TemporaryFolder folder_;
  TestDevice device_;
};

TEST_F(Raw, IsTheFile) {
  ASSERT_TRUE(open());
  EXPECT_EQ(device_.size(), 1_MiB);
  ASSERT_TRUE(device_.write_pattern({10, 3}, 'y'));
  ASSERT_TRUE(device_.close_medium());
  EXPECT_EQ(folder_.content("a").substr(8, 7), "xxyyyxx");
}

TEST_F(Raw, IsAWindowOfTheFile) {
  ASSERT_TRUE(open("offset=1000,size=512"));
  EXPECT_EQ(device_.size(), 512u);
  ASSERT_TRUE(device_.write_pattern({0, 512}, 'y'));
  EXPECT_EQ(device_.write_pattern({511, 2}, 'z').error().code(), ErrorCode::kOutOfRange);
  ASSERT_TRUE(device_.close_medium());
  EXPECT_EQ(folder_.content("a").substr(999, 514), "x" + std::string(512, 'y') + "x");
}

TEST_F(Raw, ReachesToTheEndOfTheFileInWholeSectors) {
  ASSERT_TRUE(open("offset=1M"));
  EXPECT_EQ(device_.size(), 0u);
  ASSERT_TRUE(device_.close_medium());
  ASSERT_TRUE(open("offset=1"));
  EXPECT_EQ(device_.size(), 1_MiB);
  EXPECT_TRUE(device_.holds({1_MiB - 1, 1}, 0));  // past the end of the file
  EXPECT_TRUE(device_.holds({0, 1_MiB - 1}, 'x'));
}

TEST_F(Raw, RefusesWindowsThatDoNotFit) {
  EXPECT_EQ(refusal("offset=1048577"), "raw-offset");
  EXPECT_EQ(refusal("offset=9E,size=9E"), "raw-offset");
  EXPECT_EQ(refusal("size=1049088"), "raw-size");
  EXPECT_EQ(refusal("offset=512,size=1M"), "raw-size");
  EXPECT_EQ(refusal("size=16777215T"), "raw-size");
  EXPECT_EQ(refusal("size=513"), "raw-size-unaligned");
  EXPECT_EQ(refusal("size=0"), "opened");
  EXPECT_EQ(refusal("offset=1M,size=0"), "opened");
  EXPECT_EQ(refusal("offset=1k,size=1047552"), "opened");
  EXPECT_EQ(refusal("offset=x"), "option-size");
  EXPECT_EQ(refusal("other=1"), "option-unknown");
}

TEST_F(Raw, ResizesTheFileBehindItsOffset) {
  ASSERT_TRUE(open("offset=512"));
  ASSERT_TRUE(device_.resize(2_MiB));
  EXPECT_EQ(device_.size(), 2_MiB);
  EXPECT_EQ(std::filesystem::file_size(folder_.path("a")), 2_MiB + 512);
  EXPECT_EQ(device_.resize(UINT64_MAX - 100).error().code(), ErrorCode::kTooLarge);
  EXPECT_EQ(device_.resize(kMaxDeviceSize - 100).error().code(), ErrorCode::kTooLarge);
}

TEST_F(Raw, CannotResizeAFixedWindow) {
  ASSERT_TRUE(open("size=1k"));
  const Result<void> resized = device_.resize(2048);
  EXPECT_EQ(resized.error().reason(), "raw-fixed-size");
  EXPECT_EQ(device_.size(), 1024u);
}

TEST_F(Raw, IsNamedByItsFileUnlessItIsAWindow) {
  ASSERT_TRUE(open());
  EXPECT_EQ(device_.node().filename(), folder_.path("a"));
  ASSERT_TRUE(device_.close_medium());
  ASSERT_TRUE(open("offset=1k,size=512"));
  EXPECT_EQ(device_.node().filename(),
            R"(json:{"driver": "raw", "offset": "1k", "size": "512", "file": )"
            R"({"driver": "file", "filename": ")" +
                folder_.path("a") + "\"}}");
}

TEST_F(Raw, TellsHolesOfTheFile) {
  std::filesystem::resize_file(folder_.file("a", std::string(64_KiB, 'x')), 1_MiB);
  ASSERT_TRUE(open());
  const Result<Extent> data = device_.status({0, 1_MiB});
  EXPECT_TRUE(data->data && !data->zero);
  EXPECT_EQ(data->length, 64_KiB);
  EXPECT_EQ(data->offset, 0u);
  const Result<Extent> hole = device_.status({64_KiB, 512_KiB});
  EXPECT_TRUE(hole->zero && !hole->data);
  EXPECT_EQ(hole->length, 512_KiB);
}

TEST(RawProbe, TakesWhatNothingElseClaims) {
  const std::byte bytes[512] = {};
  EXPECT_EQ(raw_driver.probe(std::span(bytes)), 1);
  EXPECT_EQ(raw_driver.probe({}), 1);
}

ConformanceSubject raw_in(const TemporaryFolder& folder, std::string_view window) {
  ConformanceSubject subject;
  subject.runtime.io_loops = 2;
  subject.flags.discard = OpenFlags::Discard::kUnmap;
  subject.make = [&folder, window](uint64_t size) {
    OptionDict options = *OptionDict::parse_key_value(window);
    const uint64_t offset = parse_size(options.text("offset").value_or("0")).value();
    const bool fixed = options.find("size") != nullptr;
    if (fixed) options.set("size", static_cast<int64_t>(size));
    std::filesystem::remove(folder.path("disk"));
    std::filesystem::resize_file(folder.file("disk"), offset + size + (fixed ? 100'000 : 0));
    options.set("driver", std::string("raw"));
    options.set("file.driver", std::string("file"));
    options.set("file.filename", folder.path("disk"));
    return options;
  };
  return subject;
}

TEST(RawConformance, WholeFiles) {
  const TemporaryFolder folder;
  EXPECT_EQ(run_conformance(raw_in(folder, "")), "");
}

TEST(RawConformance, WindowsAtOddPlaces) {
  const TemporaryFolder folder;
  EXPECT_EQ(run_conformance(raw_in(folder, "offset=777,size=0")), "");
  EXPECT_EQ(run_conformance(raw_in(folder, "offset=64k")), "");
}

TEST(RawConformance, DirectAccess) {
  const TemporaryFolder folder;
  ConformanceSubject subject = raw_in(folder, "offset=777,size=0");
  subject.flags.cache_direct = true;
  EXPECT_EQ(run_conformance(subject), "");
}

}  // namespace
}  // namespace ashlar
