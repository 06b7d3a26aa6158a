// Claims about output and messages.
#include "tools/common/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace ashlar::tools {
namespace {

TEST(Output, WritesNumbersAsPrintfDoes) {
  testing::internal::CaptureStdout();
  {
    Output out(STDOUT_FILENO);
    out.write_decimal(UINT64_MAX);
    out.write(" ");
    out.write_hex(0);
    out.write(" ");
    out.write_hex(0x5FF);
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "18446744073709551615 0 0x5ff");
}

TEST(Output, LosesNothingThatIsLargerThanItsBuffer) {
  const std::string text(100'001, 'x');
  testing::internal::CaptureStdout();
  {
    Output out(STDOUT_FILENO);
    out.write(text);
    out.write("end");
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), text + "end");
}

TEST(Output, RemembersThatTheDiskIsFull) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  {
    Output out(full);
    out.write("x");
    EXPECT_EQ(out.error(), 0);
    out.flush();
    EXPECT_EQ(out.error(), ENOSPC);
  }
  ::close(full);
}

TEST(Program, PutsItsNameBeforeErrorsAndWarnings) {
  const Program program("/usr/bin/our-img", "our-img");
  testing::internal::CaptureStderr();
  program.error("one");
  program.warning("two");
  program.note("three");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "our-img: one\nour-img: warning: two\nthree\n");
}

TEST(Program, FailsWhenItsOutputCouldNotBeWritten) {
  const int saved = ::dup(STDOUT_FILENO);
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ::dup2(full, STDOUT_FILENO);
  Program program("img", "img");
  program.out().write("lost");
  testing::internal::CaptureStderr();
  const int status = program.finish(kSuccess);
  ::dup2(saved, STDOUT_FILENO);
  ::close(saved);
  ::close(full);
  EXPECT_EQ(status, kFailure);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "img: could not write the output: No space left on device\n");
}

}  // namespace
}  // namespace ashlar::tools
