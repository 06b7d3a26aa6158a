// The claims of socket addresses as options.
#include "ashlar/socket_address.h"

#include <gtest/gtest.h>

namespace ashlar {
namespace {

Result<SocketAddress> take_from(std::string_view text, OptionDict* left = nullptr) {
  OptionDict dict = *OptionDict::parse_key_value(text);
  Result<SocketAddress> address = SocketAddress::take(dict);
  if (left != nullptr) *left = dict;
  return address;
}

TEST(SocketAddress, TakesAllMembersOfAnInternetAddress) {
  const Result<SocketAddress> address = take_from(
      "type=inet,host=example,port=10809,to=10820,ipv4=on,ipv6=off,numeric=on,keep-alive=on");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->kind, SocketAddress::Kind::kInet);
  EXPECT_EQ(address->host, "example");
  EXPECT_EQ(address->port, "10809");
  EXPECT_EQ(address->to, 10820U);
  EXPECT_EQ(address->ipv4, true);
  EXPECT_EQ(address->ipv6, false);
  EXPECT_TRUE(address->numeric);
  EXPECT_TRUE(address->keep_alive);
}

TEST(SocketAddress, LeavesOutTheFamiliesThatNobodyNamed) {
  const Result<SocketAddress> address = take_from("type=inet,host=,port=0");
  ASSERT_TRUE(address);
  EXPECT_FALSE(address->ipv4);
  EXPECT_FALSE(address->ipv6);
  EXPECT_FALSE(address->to);
}

TEST(SocketAddress, TakesTheOtherTypes) {
  const Result<SocketAddress> local = take_from("type=unix,path=a.sock,abstract=on,tight=off");
  ASSERT_TRUE(local);
  EXPECT_EQ(local->path, "a.sock");
  EXPECT_TRUE(local->is_abstract);
  EXPECT_FALSE(local->tight);
  const Result<SocketAddress> machine = take_from("type=vsock,cid=2,port=10809");
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->cid, "2");
  EXPECT_EQ(machine->port, "10809");
  const Result<SocketAddress> open = take_from("type=fd,str=7");
  ASSERT_TRUE(open);
  EXPECT_EQ(open->fd, "7");
}

TEST(SocketAddress, TakesMembersOutOfDataAndLeavesOthers) {
  OptionDict left;
  const Result<SocketAddress> address =
      take_from("type=unix,data.path=b.sock,data.odd=1,export=e", &left);
  ASSERT_TRUE(address);
  EXPECT_EQ(address->path, "b.sock");
  EXPECT_EQ(left.text("export"), "e");
  EXPECT_EQ(left.text("data.odd"), "1");
  EXPECT_EQ(left.entries().size(), 2U);
}

TEST(SocketAddress, NamesTheMemberThatIsMissing) {
  const struct {
    const char *text, *member;
  } cases[] = {{"path=a", "type"},    {"type=inet,port=1", "host"}, {"type=inet,host=h", "port"},
               {"type=unix", "path"}, {"type=vsock,cid=1", "port"}, {"type=vsock,port=1", "cid"},
               {"type=fd", "str"}};
  for (const auto& one : cases) {
    const Result<SocketAddress> address = take_from(one.text);
    ASSERT_FALSE(address) << one.text;
    EXPECT_EQ(address.error().reason(), "option-missing");
    EXPECT_EQ(address.error().values()[0], one.member);
  }
}

TEST(SocketAddress, RefusesWhatIsNoAddress) {
  const Result<SocketAddress> type = take_from("type=tcp,host=h,port=1");
  ASSERT_FALSE(type);
  EXPECT_EQ(type.error().reason(), "socket-type");
  EXPECT_EQ(type.error().values()[0], "tcp");
  for (const char* text :
       {"type=inet,host=h,port=1,to=65536", "type=inet,host=h,port=1,to=x",
        "type=inet,host=h,port=1,ipv4=maybe", "type=inet,host=h,port=1,ipv4=off,ipv6=off"}) {
    const Result<SocketAddress> address = take_from(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(address.error().reason(), "socket-member");
  }
}

TEST(SocketAddress, DescribesItselfForMessages) {
  EXPECT_EQ(SocketAddress::inet("localhost", "10809").describe(), "localhost:10809");
  EXPECT_EQ(SocketAddress::inet("::1", "nbd").describe(), "[::1]:nbd");
  EXPECT_EQ(SocketAddress::unix_socket("run/a.sock").describe(), "run/a.sock");
  EXPECT_EQ(take_from("type=unix,path=a,abstract=on")->describe(), "@a");
  EXPECT_EQ(take_from("type=vsock,cid=2,port=3")->describe(), "vsock 2:3");
  EXPECT_EQ(take_from("type=fd,str=7")->describe(), "fd 7");
}

}  // namespace
}  // namespace ashlar
