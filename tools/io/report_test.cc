// Claims about the lines that the io tool prints of requests.
#include "tools/io/report.h"

#include <gtest/gtest.h>

#include <vector>

namespace ashlar::tools::io {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(IoReport, NamesBytesOffsetTimeAndRates) {
  const RequestReport report{"read", 512, 65536, milliseconds(10)};
  EXPECT_EQ(human_report(report),
            "read 65536/65536 bytes at offset 512\n"
            "64 KiB, 1 ops; 00.01 sec (6.250 MiB/sec and 100.0000 ops/sec)\n");
}

TEST(IoReport, ShowsWholeRatesWithoutAFraction) {
  const RequestReport report{"wrote", 0, 2097152, seconds(1)};
  EXPECT_NE(human_report(report).find("(2 MiB/sec and 1.0000 ops/sec)"), std::string::npos);
}

TEST(IoReport, ShowsSmallRatesInBytesWithSixDecimals) {
  const RequestReport report{"wrote", 0, 100, seconds(3)};
  EXPECT_NE(human_report(report).find("(33.333333 bytes/sec"), std::string::npos);
}

TEST(IoReport, ShowsHoursFromAMinuteOn) {
  const RequestReport report{"wrote", 0, 0, seconds(3723) + milliseconds(450)};
  EXPECT_NE(human_report(report).find("1 ops; 1:02:03.45 (0 bytes/sec"), std::string::npos);
}

TEST(IoReport, GivesMachinesCommaSeparatedValues) {
  const RequestReport report{"read", 4096, 1024, milliseconds(500)};
  EXPECT_EQ(machine_report(report), "1024,1,0:00:00.50,2048.000,2.000\n");
}

TEST(IoReport, SurvivesARequestThatTookNoTime) {
  const RequestReport report{"read", 0, 1, milliseconds(0)};
  EXPECT_EQ(machine_report(report), "1,1,0:00:00.00,1000000000.000,1000000000.000\n");
}

TEST(IoDump, PutsSixteenBytesOnALineAndOnlyLettersAndDigitsInText) {
  std::vector<std::byte> bytes;
  for (const char c : std::string_view("no image at all, A1")) bytes.push_back(std::byte(c));
  EXPECT_EQ(dump(bytes, 0xfff0),
            "0000fff0:  6e 6f 20 69 6d 61 67 65 20 61 74 20 61 6c 6c 2c  no.image.at.all.\n"
            "00010000:  20 41 31  .A1\n");
}

TEST(IoPattern, FindsOneWrongByteAnywhere) {
  std::vector<std::byte> bytes(1000, std::byte{7});
  EXPECT_TRUE(all_bytes_are(bytes, std::byte{7}));
  EXPECT_FALSE(all_bytes_are(bytes, std::byte{8}));
  for (const size_t at : {size_t{0}, size_t{500}, size_t{999}}) {
    bytes[at] = std::byte{6};
    EXPECT_FALSE(all_bytes_are(bytes, std::byte{7})) << at;
    bytes[at] = std::byte{7};
  }
}

TEST(IoPattern, HoldsForNoBytes) { EXPECT_TRUE(all_bytes_are({}, std::byte{1})); }

}  // namespace
}  // namespace ashlar::tools::io
