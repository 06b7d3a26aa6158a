// The claims of errors: text by layers, reasons, codes and errno values.
#include "ashlar/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

namespace ashlar {
namespace {

TEST(Error, EachLayerAddsOnePartInFront) {
  const Error error = Error(ErrorCode::kCorrupt, "L2 table at 0x50200 is not aligned to 64 KiB")
                          .within("open qcow2", "disk.img")
                          .within("create backend");
  EXPECT_EQ(
      error.message(),
      "create backend: open qcow2 \"disk.img\": L2 table at 0x50200 is not aligned to 64 KiB");
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
}

TEST(Error, FromErrnoSaysWhatWasTriedInSmallLetters) {
  const Error error = Error::from_errno(ENOENT, "open \"disk.img\"");
  EXPECT_EQ(error.message(), "open \"disk.img\": no such file or directory");
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.os_error(), ENOENT);
}

TEST(Error, AnUnknownErrnoKeepsItsNumber) {
  const Error error = Error::from_errno(12345, "read");
  EXPECT_EQ(error.message(), "read: error number 12345");
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_EQ(error.os_error(), 12345);
}

TEST(Error, AnAcronymKeepsItsCapitals) {
  EXPECT_EQ(Error::from_errno(EIO, "").message(), "input/output error");
  EXPECT_EQ(Error::from_errno(EBADRQC, "").message(), "invalid request code");
  EXPECT_EQ(Error::from_errno(EADV, "").message(), "advertise error");
  EXPECT_EQ(Error::from_errno(EDOTDOT, "").message(), "RFS specific error");
}

TEST(Error, EveryCodeHasANearestErrno) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::kCancelled); ++code) {
    EXPECT_GT(Error(static_cast<ErrorCode>(code), "x").os_error(), 0) << code;
  }
  EXPECT_EQ(Error(ErrorCode::kNoSpace, "x").os_error(), ENOSPC);
  EXPECT_EQ(Error(ErrorCode::kNoMedium, "x").os_error(), ENOMEDIUM);
}

TEST(Error, ErrnoAndCodeAgreeBothWays) {
  for (const int os_error : {ENOSPC, EACCES, EROFS, ENOENT, EEXIST, EINVAL, ENOTSUP, EBUSY, EIO,
                             ENOMEDIUM, ENOMEM, ECANCELED, EFBIG, ESHUTDOWN}) {
    const ErrorCode code = Error::from_errno(os_error, "x").code();
    EXPECT_EQ(Error(code, "x").os_error(), os_error);
  }
}

TEST(Error, AReasonAndItsValuesSurviveFurtherLayers) {
  const Error error = Error(ErrorCode::kUnsupported, "version 9 is not supported, 2 or 3 are")
                          .because("qcow2-version", {"9", "3"})
                          .within("open");
  EXPECT_EQ(error.reason(), "qcow2-version");
  ASSERT_EQ(error.values().size(), 2u);
  EXPECT_EQ(error.values()[0], "9");
  EXPECT_EQ(error.values()[1], "3");
}

TEST(Error, ALayerLeavesTheOriginalAlone) {
  const Error inner(ErrorCode::kIo, "inner");
  const Error outer = inner.within("outer").because("reason");
  EXPECT_EQ(inner.message(), "inner");
  EXPECT_TRUE(inner.reason().empty());
  EXPECT_EQ(outer.message(), "outer: inner");
}

TEST(Error, FailMakesAFailedResultOfAnyType) {
  const Result<int> number = fail(ErrorCode::kBusy, "in use");
  const Result<std::vector<std::string>> list = fail(number.error());
  EXPECT_FALSE(number);
  EXPECT_EQ(list.error().message(), "in use");
  EXPECT_TRUE(ok());
}

}  // namespace
}  // namespace ashlar
