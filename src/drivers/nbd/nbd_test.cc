// The claims of the driver "nbd" through a graph, against a small server behind a unix socket.
#include <gtest/gtest.h>

#include "testing/conformance.h"
#include "testing/nbd_fake_server.h"
#include "testing/test_device.h"

namespace ashlar {
namespace {

using testing::FakeExport;
using testing::FakeNbdServer;
using Age = FakeExport::Age;

std::string options_for(const FakeNbdServer& server, const std::string& more = "") {
  return "driver=nbd,server.type=unix,server.path=" + server.path() + more;
}

struct ConformanceServer {
  std::unique_ptr<FakeExport> exported;
  std::unique_ptr<FakeNbdServer> server;
};

void expect_conformance(Age age, std::optional<nbd::BlockSizes> sizes) {
  ConformanceServer current;
  ConformanceSubject subject;
  subject.runtime.io_loops = 2;
  subject.flags.discard = OpenFlags::Discard::kUnmap;
  subject.make = [&](uint64_t size) {
    current.server.reset();
    current.exported = std::make_unique<FakeExport>(size);
    current.exported->age = age;
    current.exported->sizes = sizes;
    current.server = std::make_unique<FakeNbdServer>(*current.exported);
    return *OptionDict::parse_key_value(options_for(*current.server));
  };
  EXPECT_EQ(run_conformance(subject), "") << static_cast<int>(age);
}

TEST(Nbd, ConformsWithExtendedHeaders) { expect_conformance(Age::kExtended, {}); }
TEST(Nbd, ConformsWithStructuredReplies) {
  expect_conformance(Age::kStructured,
                     nbd::BlockSizes{.minimum = 1, .preferred = 4096, .maximum_payload = 65536});
}
TEST(Nbd, ConformsWithSimpleReplies) {
  expect_conformance(
      Age::kSimple, nbd::BlockSizes{.minimum = 512, .preferred = 4096, .maximum_payload = 1 << 20});
}
TEST(Nbd, ConformsWithTheOldStyle) { expect_conformance(Age::kOldStyle, {}); }

TEST(Nbd, OpensAReadOnlyExportOnlyToRead) {
  FakeExport exported(1_MiB);
  exported.flags |= nbd::transmission_flag::kReadOnly;
  const FakeNbdServer server(exported);
  TestDevice writer;
  const Result<void> refused = writer.open(options_for(server));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kReadOnly);
  TestDevice reader;
  OpenFlags flags;
  flags.read_only = true;
  EXPECT_TRUE(reader.open(options_for(server), flags));
  EXPECT_TRUE(reader.holds({0, 1_MiB}, 0));
}

TEST(Nbd, AFlushReachesTheServer) {
  FakeExport exported(1_MiB);
  const FakeNbdServer server(exported);
  TestDevice device;
  ASSERT_TRUE(device.open(options_for(server)));
  ASSERT_TRUE(device.write_pattern({0, 4096}, 1));
  ASSERT_TRUE(device.flush());
  EXPECT_GE(exported.flushes, 1U);
}

TEST(Nbd, ShowsTheHolesOfTheServer) {
  FakeExport exported(1_MiB);
  exported.bytes.write(64_KiB, std::vector<std::byte>(64_KiB, std::byte{1}));
  const FakeNbdServer server(exported);
  TestDevice device;
  ASSERT_TRUE(device.open(options_for(server)));
  const Result<Extent> hole = device.status({0, 1_MiB});
  ASSERT_TRUE(hole);
  EXPECT_TRUE(hole->zero && !hole->data);
  EXPECT_EQ(hole->length, 64_KiB);
  const Result<Extent> data = device.status({64_KiB, 900_KiB});
  ASSERT_TRUE(data);
  EXPECT_TRUE(data->data && !data->zero);
  EXPECT_EQ(data->length, 64_KiB);
}

TEST(Nbd, IsNamedByItsUri) {
  FakeExport exported(1_MiB);
  const FakeNbdServer server(exported);
  TestDevice device;
  ASSERT_TRUE(device.open(options_for(server)));
  EXPECT_EQ(device.node().filename(), "nbd+unix://?socket=" + server.path());
}

TEST(Nbd, ALostServerIsWaitedForWhenThatIsWanted) {
  FakeExport exported(1_MiB);
  FakeNbdServer server(exported);
  TestDevice device;
  ASSERT_TRUE(device.open(options_for(server, ",reconnect-delay=30")));
  for (uint8_t round = 1; round < 5; ++round) {
    ASSERT_TRUE(device.write_pattern({0, 64_KiB}, round));
    server.cut();
    EXPECT_TRUE(device.holds({0, 64_KiB}, round));
  }
}

TEST(Nbd, CreatingNeedsAnExportThatIsLargeEnough) {
  FakeExport exported(1_MiB);
  const FakeNbdServer server(exported);
  TestDevice device;
  const std::string name = "nbd+unix://?socket=" + server.path();
  OptionDict options;
  options.set("size", int64_t{1 << 20});
  EXPECT_TRUE(sync_wait(device.runtime(), device.graph().create_image(name, "raw", options)));
  options.set("size", int64_t{2 << 20});
  const Result<void> larger =
      sync_wait(device.runtime(), device.graph().create_image(name, "raw", options));
  ASSERT_FALSE(larger);
  EXPECT_EQ(larger.error().reason(), "device-too-small");
}

}  // namespace
}  // namespace ashlar
