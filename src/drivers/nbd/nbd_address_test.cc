// The claims of names of NBD exports, and of the driver's options.
#include <gtest/gtest.h>

#include "drivers/nbd/address.h"
#include "drivers/nbd/nbd_options.h"

namespace ashlar::nbd::client {
namespace {

/// "key=value" of all that a name stands for, in order; or the reason of the error.
std::string parsed(std::string_view name) {
  const Result<OptionDict> options = parse_name(name);
  if (!options) return std::string(options.error().reason());
  std::string text;
  for (const auto& [key, value] : options->entries()) {
    text += (text.empty() ? "" : " ") + key + "=" + *options->text(key);
  }
  return text;
}

TEST(NbdName, UrisSayServerAndExport) {
  EXPECT_EQ(parsed("nbd://example"), "server.type=inet server.host=example server.port=10809");
  EXPECT_EQ(parsed("nbd+tcp://example:1/a%20b/c"),
            "server.type=inet server.host=example server.port=1 export=a b/c");
  EXPECT_EQ(parsed("nbd://[::1]:10/"), "server.type=inet server.host=::1 server.port=10");
  EXPECT_EQ(parsed("nbd+unix:///e?socket=/run/a%3db"),
            "server.path=/run/a=b server.type=unix export=e");
  EXPECT_EQ(parsed("nbd+unix://?socket=a.sock"), "server.path=a.sock server.type=unix");
  EXPECT_EQ(parsed("nbd+vsock://2:99999/"), "server.type=vsock server.cid=2 server.port=99999");
  EXPECT_EQ(parsed("nbds://h/e?tls-certificates=/pki&tls-hostname=x"),
            "tls-certificates=/pki tls-hostname=x server.type=inet server.host=h "
            "server.port=10809 export=e");
}

TEST(NbdName, OlderNamesToo) {
  EXPECT_EQ(parsed("nbd:localhost:10809"),
            "server.type=inet server.host=localhost server.port=10809");
  EXPECT_EQ(parsed("nbd:[::1]:1:exportname=a:b"),
            "server.type=inet server.host=::1 server.port=1 export=a:b");
  EXPECT_EQ(parsed("nbd:unix:/run/s:exportname=e"), "server.type=unix server.path=/run/s export=e");
  EXPECT_EQ(parsed("nbd:unix:a"), "server.type=unix server.path=a");
}

TEST(NbdName, RefusesWhatIsNone) {
  for (const char* uri :
       {"nbd+unix:///e", "nbd+unix://host/?socket=a", "nbd+udp://h/", "nbd://", "nbd://h:1:2/",
        "nbd://h/%", "nbd://h/%4", "nbd://h/%zz", "nbd://h/%00", "nbd://[::1/", "nbd://[::1]x/",
        "nbd://h/?socket=a", "nbd://h/?tls-creds=t", "nbds://h/", "nbd://h:123456/"}) {
    EXPECT_EQ(parsed(uri), "nbd-uri") << uri;
  }
  for (const char* name : {"nbd:localhost", "nbd:", "nbd::1", "nbd:a:b:c"}) {
    EXPECT_EQ(parsed(name), "nbd-address") << name;
  }
}

Result<Target> target(std::string_view text) {
  OptionDict options = *OptionDict::parse_key_value(text);
  return take_target(options, *no_credentials());
}

TEST(NbdOptions, AServerIsNamedOnce) {
  EXPECT_EQ(target("export=e").error().reason(), "nbd-address-missing");
  for (const char* text : {"path=a,host=b", "path=a,server.type=unix,server.path=b",
                           "host=a,server.type=unix", "path=a,port=1", "filename=nbd://h,host=a",
                           "filename=nbd://h,server.type=unix", "filename=nbd://h/e,export=f"}) {
    const Result<Target> result = target(text);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().reason(), "nbd-server-twice") << text;
  }
}

TEST(NbdOptions, ShowAsAUriWhatAUriCanSay) {
  const auto name = [](std::string_view text) { return target(text)->naming.text("filename"); };
  EXPECT_EQ(name("host=localhost,export=a b"), "nbd://localhost:10809/a b");
  EXPECT_EQ(name("server.type=inet,server.host=::1,server.port=7,reconnect-delay=3"),
            "nbd://[::1]:7");
  EXPECT_EQ(name("path=/run/s,export=e"), "nbd+unix:///e?socket=/run/s");
  EXPECT_EQ(name("filename=nbd+unix://?socket=/run/s"), "nbd+unix://?socket=/run/s");
  const OptionDict vsock =
      target("server.type=vsock,server.cid=2,server.port=3,open-timeout=1")->naming;
  EXPECT_FALSE(vsock.text("filename"));
  EXPECT_EQ(vsock.text("server.cid"), "2");
  EXPECT_FALSE(vsock.text("open-timeout"));
}

TEST(NbdOptions, HaveLimits) {
  EXPECT_EQ(target("host=h,connections=0").error().reason(), "nbd-option-range");
  EXPECT_EQ(target("host=h,connections=17").error().reason(), "nbd-option-range");
  EXPECT_EQ(target("host=h,reconnect-delay=99999999999").error().reason(), "nbd-option-range");
  EXPECT_EQ(target("host=h,export=" + std::string(5000, 'x')).error().reason(), "nbd-export-long");
  EXPECT_EQ(target("host=h,tls-creds=t").error().reason(), "tls-not-found");
  EXPECT_EQ(target("host=h,tls-certificates=/nonexistent").error().reason(), "tls-file");
  EXPECT_EQ(target("host=h,tls-hostname=x")->settings.wishes.tls_hostname, "x");
  EXPECT_EQ(target("host=h")->settings.wishes.tls_hostname, "h");
}

}  // namespace
}  // namespace ashlar::nbd::client
