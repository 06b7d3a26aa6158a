// Claims about null devices.
#include <gtest/gtest.h>

#include "testing/conformance.h"
#include "testing/test_device.h"

namespace ashlar {
namespace {

std::string reason_of_opening(std::string_view options) {
  TestDevice device;
  const Result<void> opened = device.open(options);
  return opened ? "opened" : std::string(opened.error().reason());
}

TEST(Null, HasOneGibibyteUnlessToldOtherwise) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=null-co"));
  EXPECT_EQ(device.size(), 1_GiB);
  ASSERT_TRUE(device.close_medium());
  ASSERT_TRUE(device.open("driver=null-aio,size=1000"));
  EXPECT_EQ(device.size(), 1024u);
}

TEST(Null, ReadsZeroesAfterAWriteIfItWasTold) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=null-co,read-zeroes=on,size=1M"));
  ASSERT_TRUE(device.write_pattern({0, 4096}, 7));
  EXPECT_TRUE(device.holds({0, 1_MiB}, 0));
  const Result<Extent> extent = device.status({0, 1_MiB});
  EXPECT_TRUE(extent->zero);
  EXPECT_EQ(extent->length, 1_MiB);
}

TEST(Null, LeavesMemoryAloneOtherwise) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=null-co,size=1M"));
  EXPECT_TRUE(device.holds({0, 4096}, 0xa5));  // what the test device fills buffers with
  EXPECT_FALSE(device.status({0, 4096})->zero);
}

TEST(Null, TakesItsLatencyForEveryRequest) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=null-co,size=1M,latency-ns=3000000,read-zeroes=on"));
  Loop& loop = device.runtime().control_loop();
  const uint64_t begin = loop.now_ns();
  ASSERT_TRUE(device.write_pattern({0, 512}, 1));
  EXPECT_TRUE(device.holds({0, 512}, 0));
  ASSERT_TRUE(device.discard({0, 512}));
  EXPECT_GE(loop.now_ns() - begin, 6'000'000u);  // discards are off
}

TEST(Null, IsNamedByItsAddressOrItsOptions) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=null-co,latency-ns=5"));
  EXPECT_EQ(device.node().filename(), "null-co://");
  ASSERT_TRUE(device.close_medium());
  ASSERT_TRUE(device.open("driver=null-aio,size=2k"));
  EXPECT_EQ(device.node().filename(), R"(json:{"driver": "null-aio", "size": "2k"})");
}

TEST(Null, RefusesOtherAddressesAndSizesOutOfRange) {
  EXPECT_EQ(reason_of_opening("driver=null-co,filename=null-co://"), "opened");
  EXPECT_EQ(reason_of_opening("driver=null-co,filename=null-aio://"), "null-filename");
  EXPECT_EQ(reason_of_opening("driver=null-co,size=8E"), "device-too-large");
  EXPECT_EQ(reason_of_opening("driver=null-co,latency-ns=-1"), "option-number");
  EXPECT_EQ(reason_of_opening("driver=null-co,other=1"), "storage-option-unknown");
}

TEST(Null, CannotBeResized) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=null-co"));
  EXPECT_EQ(device.resize(2_GiB).error().code(), ErrorCode::kUnsupported);
}

TEST(Null, Conforms) {
  for (const bool zeroes : {false, true}) {
    ConformanceSubject subject;
    subject.runtime.io_loops = 1;
    subject.keeps = ConformanceSubject::Keeps::kNothing;
    subject.make = [zeroes](uint64_t size) {
      OptionDict options;
      options.set("driver", std::string("null-co"));
      options.set("size", static_cast<int64_t>(size));
      options.set("read-zeroes", zeroes);
      return options;
    };
    EXPECT_EQ(run_conformance(subject), "");
  }
}

}  // namespace
}  // namespace ashlar
