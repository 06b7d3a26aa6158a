// The exported file without a kernel: what fits, what grows, what is refused.
#include "exports/fuse/file.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "testing/graph_world.h"

namespace ashlar::fuse {
namespace {

using Access = ExportedFile::Access;
using Allocation = ExportedFile::Allocation;
using Growth = ExportedFile::Growth;
using Others = ExportedFile::Others;
using Seek = ExportedFile::Seek;

/// A file of 1 KiB of 'x'.
class FileWorld {
 public:
  explicit FileWorld(ExportedFile::Manners manners) {
    world_.world().files["disk"] = make_file(1024, 'x');
    backend_ = *world_.graph().create_backend("");
    EXPECT_TRUE(backend_->set_permissions(
        Permission::kConsistentRead | Permission::kWrite | Permission::kResize,
        Permissions::all()));
    file_.emplace(*backend_, manners, FileStatus{.user = 7, .group = 8, .changed_ns = 9});
  }
  void insert() {
    const Result<NodeRef> node =
        world_.open(R"({"driver":"raw","file":{"driver":"memory","filename":"disk"}})");
    EXPECT_TRUE(world_.wait(backend_->insert_medium(*node)));
  }
  ExportedFile& file() { return *file_; }
  const std::vector<std::byte>& bytes() { return world_.world().files["disk"]->bytes; }
  template <typename T>
  T wait(Task<T> task) {
    return world_.wait(std::move(task));
  }

  Result<std::string> read(uint64_t offset, size_t length) {
    std::vector<std::byte> into(length);
    const Result<size_t> count =
        wait(file_->read({offset, length}, MutableBuffers(into.data(), length)));
    if (!count) return fail(count.error());
    return std::string(reinterpret_cast<const char*>(into.data()), *count);
  }
  Result<size_t> write(uint64_t offset, std::string_view text) {
    const ConstBuffers from(reinterpret_cast<const std::byte*>(text.data()), text.size());
    return wait(file_->write({offset, text.size()}, from));
  }
  Result<uint64_t> seek(uint64_t offset, Seek what) {
    return wait(file_->seek(offset, what, [] { return false; }));
  }
  int error_of(const auto& result) { return result ? 0 : result.error().os_error(); }

 private:
  WorldGraph world_;
  BackendRef backend_;
  std::optional<ExportedFile> file_;
};

constexpr ExportedFile::Manners kWritable{.access = Access::kWritable};
constexpr ExportedFile::Manners kGrowable{.access = Access::kWritable,
                                          .growth = Growth::kByWriting};

TEST(FuseFile, EndsReadsAtItsEnd) {
  FileWorld world({});
  world.insert();
  EXPECT_EQ(world.read(0, 10).value(), "xxxxxxxxxx");
  EXPECT_EQ(world.read(1020, 10).value(), "xxxx");
  EXPECT_EQ(world.read(1024, 10).value(), "");
  EXPECT_EQ(world.read(uint64_t{1} << 62, 10).value(), "");
}

TEST(FuseFile, WritesWhatFitsAndRefusesWhatDoesNot) {
  FileWorld world(kWritable);
  world.insert();
  EXPECT_EQ(world.write(1020, "abcdefgh").value(), 4u);
  EXPECT_EQ(world.read(1018, 20).value(), "xxabcd");
  EXPECT_EQ(world.error_of(world.write(1024, "a")), EIO);
  EXPECT_EQ(world.error_of(world.write(5000, "a")), EIO);
  EXPECT_EQ(world.bytes().size(), 1024u);
}

TEST(FuseFile, GrowsByWritingOnlyWhenItMay) {
  FileWorld world(kGrowable);
  world.insert();
  EXPECT_EQ(world.write(1020, "abcdefgh").value(), 8u);
  EXPECT_EQ(world.file().status().size, 1536u);  // whole sectors
  EXPECT_EQ(world.read(1018, 20).value(), std::string("xxabcdefgh") + std::string(10, '\0'));
  EXPECT_EQ(world.error_of(world.write(kMaxDeviceSize - 4, "12345678")), EFBIG);
}

TEST(FuseFile, RefusesEveryChangeOfAReadOnlyExport) {
  FileWorld world({.growth = Growth::kByWriting});
  world.insert();
  EXPECT_EQ(world.error_of(world.write(0, "a")), EACCES);
  EXPECT_EQ(world.error_of(world.wait(world.file().truncate(512))), EACCES);
  EXPECT_EQ(world.error_of(world.wait(world.file().allocate(Allocation::kPunch, {0, 5}))), EACCES);
  EXPECT_EQ(world.error_of(world.file().change_permissions(0600)), EROFS);
  EXPECT_TRUE(world.wait(world.file().flush()));
  EXPECT_EQ(world.bytes(), make_file(1024, 'x')->bytes);
}

TEST(FuseFile, PunchesAndZeroesInsideOfItself) {
  FileWorld world(kWritable);
  world.insert();
  EXPECT_TRUE(world.wait(world.file().allocate(Allocation::kPunch, {1, 2})));
  EXPECT_EQ(world.read(0, 4).value(), std::string("x\0\0x", 4));
  EXPECT_TRUE(world.wait(world.file().allocate(Allocation::kZeroKeepSize, {1022, 100})));
  EXPECT_EQ(world.read(1020, 9).value(), std::string("xx\0\0", 4));
  EXPECT_EQ(world.error_of(world.wait(world.file().allocate(Allocation::kPunch, {1024, 1}))), EIO);
  EXPECT_EQ(world.file().status().size, 1024u);
}

TEST(FuseFile, GrowsByAllocatingAndTruncating) {
  FileWorld world(kWritable);
  world.insert();
  ExportedFile& file = world.file();
  EXPECT_EQ(world.error_of(world.wait(file.allocate(Allocation::kReserve, {0, 2048}))), EOPNOTSUPP);
  EXPECT_TRUE(world.wait(file.allocate(Allocation::kZero, {1000, 1000})));
  EXPECT_EQ(file.status().size, 2048u);
  EXPECT_EQ(world.read(999, 3).value(), std::string("x\0\0", 3));
  EXPECT_TRUE(world.wait(file.truncate(512)));
  EXPECT_EQ(file.status().size, 512u);
  EXPECT_EQ(world.error_of(world.wait(file.truncate(~uint64_t{0}))), EFBIG);
}

TEST(FuseFile, SeeksDataAndTheHoleAtItsEnd) {
  FileWorld world(kWritable);
  world.insert();
  EXPECT_EQ(world.seek(5, Seek::kData).value(), 5u);
  EXPECT_EQ(world.seek(5, Seek::kHole).value(), 1024u);
  EXPECT_EQ(world.seek(1024, Seek::kHole).value(), 1024u);
  EXPECT_EQ(world.error_of(world.seek(1024, Seek::kData)), ENXIO);
  EXPECT_EQ(world.error_of(world.seek(1025, Seek::kHole)), ENXIO);
  const auto cancelled = world.wait(world.file().seek(5, Seek::kHole, [] { return true; }));
  EXPECT_EQ(world.error_of(cancelled), EINTR);
}

TEST(FuseFile, HasNoMediumUntilOneIsInserted) {
  FileWorld world(kGrowable);
  EXPECT_EQ(world.file().status().size, 0u);
  EXPECT_EQ(world.error_of(world.read(0, 1)), ENOMEDIUM);
  EXPECT_EQ(world.error_of(world.write(0, "a")), ENOMEDIUM);
  EXPECT_EQ(world.error_of(world.seek(0, Seek::kData)), ENOMEDIUM);
  EXPECT_EQ(world.error_of(world.wait(world.file().truncate(512))), ENOMEDIUM);
  EXPECT_EQ(world.error_of(world.wait(world.file().flush())), ENOMEDIUM);
  world.insert();
  EXPECT_EQ(world.file().status().size, 1024u);
  EXPECT_EQ(world.read(0, 1).value(), "x");
}

TEST(FuseFile, BelongsToWhoMountedItUnlessOthersMayCome) {
  FileWorld alone(kWritable);
  EXPECT_EQ(alone.file().status().permissions, 0600u);
  EXPECT_EQ(alone.file().status().user, 7u);
  EXPECT_EQ(alone.file().status().changed_ns, 9u);
  EXPECT_EQ(alone.error_of(alone.file().change_permissions(0640)), EPERM);
  EXPECT_EQ(alone.error_of(alone.file().change_owner(1, {})), EOPNOTSUPP);
  EXPECT_TRUE(alone.file().change_permissions(0100400));
  EXPECT_EQ(alone.file().status().permissions, 0400u);

  FileWorld open({.access = Access::kWritable, .others = Others::kAllowed});
  EXPECT_TRUE(open.file().change_permissions(0666));
  EXPECT_TRUE(open.file().change_owner({}, 5));
  EXPECT_EQ(open.file().status().permissions, 0666u);
  EXPECT_EQ(open.file().status().user, 7u);
  EXPECT_EQ(open.file().status().group, 5u);
}

}  // namespace
}  // namespace ashlar::fuse
