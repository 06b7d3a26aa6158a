// Throttle groups as objects: what is created, refused, used and removed.
#include "tools/common/throttle_groups.h"

#include <gtest/gtest.h>

#include "tools/common/objects.h"

namespace ashlar::tools {
namespace {

std::string refusal(Objects& objects, std::string_view text) {
  const Result<void> added = objects.add(text);
  return added ? "" : added.error().message();
}

TEST(ThrottleGroupObject, TakesLimitsInBothForms) {
  Objects objects;
  EXPECT_EQ(refusal(objects, "throttle-group,id=a,x-iops-total=3,x-iops-total-max=5"), "");
  EXPECT_EQ(refusal(objects, R"({"qom-type":"throttle-group","id":"b","limits":{"bps-read":7}})"),
            "");
  const auto groups = objects.throttle_groups();
  EXPECT_EQ(groups->throttle_group("a")->limits().rates[ThrottleLimits::kRequestsTotal],
            (ThrottleLimits::Rate{3, 5, 1}));
  EXPECT_EQ(groups->throttle_group("b")->limits().rates[ThrottleLimits::kBytesRead].average, 7u);
  EXPECT_EQ(groups->throttle_group("c"), nullptr);
}

TEST(ThrottleGroupObject, IsRefusedInThePeersWords) {
  Objects objects;
  EXPECT_EQ(refusal(objects, "throttle-group"), "Parameter 'id' is missing");
  EXPECT_EQ(refusal(objects, "throttle-group,id=a,bps=3"), "Parameter 'bps' is unexpected");
  EXPECT_EQ(refusal(objects, "throttle-group,id=a,x-iops-total=3,x-iops-read=4"),
            "bps/iops/max total values and read/write values cannot be used at the same time");
  EXPECT_EQ(refusal(objects, "throttle-group,id=a"), "");
  EXPECT_EQ(refusal(objects, "throttle-group,id=a"),
            "attempt to add duplicate property 'a' to object (type 'container')");
  EXPECT_EQ(refusal(objects, "secret,id=a,data=x"),
            "attempt to add duplicate property 'a' to object (type 'container')");
}

TEST(ThrottleGroupObject, IsRemovedWhenNobodyUsesIt) {
  ThrottleGroups groups;
  ASSERT_TRUE(groups.add("a", {}));
  EXPECT_EQ(groups.remove("b").error().code(), ErrorCode::kNotFound);
  ASSERT_TRUE(groups.remove("a"));
  EXPECT_EQ(groups.throttle_group("a"), nullptr);
}

}  // namespace
}  // namespace ashlar::tools
