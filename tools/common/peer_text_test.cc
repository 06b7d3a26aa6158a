// Claims about the translation of errors to the words of the peer's tools.
#include "tools/common/peer_text.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

#include "tools/common/peer_words.h"

namespace ashlar::tools {
namespace {

TEST(PeerText, PutsTheValuesOfAKnownReasonIn) {
  const Error error =
      Error(ErrorCode::kInvalidArgument, "our words").because("option-choice", {"format", "bogus"});
  EXPECT_EQ(peer_text(error), "Parameter 'format' does not accept value 'bogus'");
}

TEST(PeerText, FallsBackToTheLibrarysMessageOrTheSystemsText) {
  const Error error = Error::from_errno(EIO, "read \"a\"").because("no-such-reason");
  EXPECT_EQ(peer_text(error), "read \"a\": input/output error");
  EXPECT_EQ(peer_errno_text(error), "Input/output error");
}

TEST(PeerText, TellsTheCauseInsideAnOuterReason) {
  const Error inner = Error::from_errno(ENOENT, "open \"b\"").because("file-open", {"b"});
  const Error outer = inner.within("open", "a").because("backing-open", {inner.message()});
  EXPECT_EQ(peer_text(outer),
            "Could not open backing file: Could not open 'b': No such file or directory");
}

TEST(PeerText, TellsTheMessageOfACauseWithoutAReason) {
  const Error outer = Error(ErrorCode::kIo, "outer: inner").because("backing-open", {"inner"});
  EXPECT_EQ(peer_text(outer), "Could not open backing file: inner");
}

TEST(PeerText, TranslatesFindings) {
  const CheckFinding known{.kind = CheckFinding::Kind::kLeak,
                           .message = "cluster 7 leaks",
                           .reason = "qcow2-leak",
                           .values = {"7", "1", "0"}};
  EXPECT_EQ(peer_finding_text(known, "tool"), "Leaked cluster 7 refcount=1 reference=0");
  const CheckFinding unknown{.kind = CheckFinding::Kind::kNote,
                             .message = "cluster 7 leaks",
                             .reason = "no-such-reason",
                             .values = {}};
  EXPECT_EQ(peer_finding_text(unknown, "tool"), "cluster 7 leaks");
}

TEST(PeerText, PutsTheProgramBeforeSomeFindings) {
  const CheckFinding finding{.kind = CheckFinding::Kind::kNote,
                             .message = "ours",
                             .reason = "qcow2-check-snapshots-offset",
                             .values = {}};
  EXPECT_EQ(peer_finding_text(finding, "tool"), "tool: ERROR snapshot table offset invalid");
}

TEST(PeerWords, NameEveryReasonOnce) {
  std::set<std::string_view> reasons;
  for (const PeerWords& words : peer_words_table()) {
    EXPECT_TRUE(reasons.insert(words.reason).second) << words.reason;
  }
}

}  // namespace
}  // namespace ashlar::tools
