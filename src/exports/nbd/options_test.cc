// The claims of the options of the handshake.
#include "exports/nbd/options.h"

#include <gtest/gtest.h>

#include "exports/nbd/limits.h"
#include "testing/graph_world.h"

namespace ashlar::nbd {
namespace {

using Next = OptionAnswers::Next;

/// One export, "disk", and a handshake.
class OptionsTest : public testing::Test {
 protected:
  OptionsTest() {
    world_.world().files["f"] = make_file(1_MiB);
    backend_ = *world_.graph().create_backend("b");
    Result<NodeRef> node = world_.open(R"({"driver": "memory", "filename": "f"})");
    EXPECT_TRUE(world_.wait(backend_->insert_medium(std::move(*node))));
    served_.name = "disk";
    served_.description = "of tests";
    served_.backend = backend_.get();
    served_.contexts = ContextSet(ContextSet::Depth::kShown);
    EXPECT_TRUE(exports_.add(served_));
  }

  struct Reply {
    OptionReply type;
    Bytes data;
  };
  /// The replies in an answer.
  static std::vector<Reply> replies_in(const OptionAnswers::Answer& answer) {
    std::vector<Reply> replies;
    std::span<const std::byte> left(answer.bytes);
    while (!left.empty()) {
      const auto header = decode_option_reply_header(left.first<kOptionReplyHeaderSize>());
      EXPECT_TRUE(header);
      left = left.subspan(kOptionReplyHeaderSize);
      replies.push_back({header->type, Bytes(left.begin(), left.begin() + header->length)});
      left = left.subspan(header->length);
    }
    return replies;
  }
  OptionReply only_reply(Option option, ByteView data = {}) {
    const auto replies = replies_in(answers_.answer(option, data));
    EXPECT_EQ(replies.size(), 1U);
    return replies.empty() ? OptionReply::kErrorPlatform : replies[0].type;
  }
  static Bytes info_data(std::string name) {
    InfoRequest request;
    request.export_name = std::move(name);
    return encode(request);
  }
  static Bytes context_data(std::string name, std::vector<std::string> queries) {
    MetaContextRequest request;
    request.export_name = std::move(name);
    request.queries = std::move(queries);
    return encode(request);
  }
  /// Names of the contexts in an answer.
  static std::vector<std::string> contexts_in(const OptionAnswers::Answer& answer) {
    std::vector<std::string> names;
    for (const Reply& reply : replies_in(answer)) {
      if (reply.type != OptionReply::kMetaContext) continue;
      names.push_back(decode_meta_context(reply.data)->name);
    }
    return names;
  }

  static Terms terms_with(const ExportList& exports) {
    Terms terms;
    terms.exports = &exports;
    return terms;
  }

  WorldGraph world_;
  BackendRef backend_;
  ServedExport served_;
  ExportList exports_;
  Terms terms_ = terms_with(exports_);
  OptionAnswers answers_{terms_};
};

TEST_F(OptionsTest, AnOptionThatNobodyKnowsIsUnsupportedAndTheNextOneWorks) {
  for (const uint32_t number : {0U, 4U, 12U, 99U, ~0U}) {
    EXPECT_EQ(only_reply(static_cast<Option>(number)), OptionReply::kErrorUnsupported);
  }
  EXPECT_EQ(only_reply(Option::kStructuredReply), OptionReply::kAck);
}

TEST_F(OptionsTest, OptionsWithoutDataRefuseData) {
  const Bytes data(1);
  for (const Option option :
       {Option::kList, Option::kStartTls, Option::kStructuredReply, Option::kExtendedHeaders}) {
    EXPECT_EQ(only_reply(option, data), OptionReply::kErrorInvalid);
  }
}

TEST_F(OptionsTest, LengthsInsideOfAnOptionMustFit) {
  const Bytes good = info_data("disk");
  for (size_t length = 0; length < good.size(); ++length) {
    const ByteView cut = ByteView(good).first(length);
    EXPECT_EQ(only_reply(Option::kInfo, cut), OptionReply::kErrorInvalid) << length;
    EXPECT_EQ(answers_.answer(Option::kGo, cut).next, Next::kOption);
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_EQ(only_reply(Option::kInfo, longer), OptionReply::kErrorInvalid);
}

TEST_F(OptionsTest, NamesOfEveryLengthAreLookedUpOrRefused) {
  for (const size_t length : {0, 1, 255, 256, 257, 4096}) {
    const std::string name(length, '\xff');  // not UTF-8 either
    EXPECT_EQ(only_reply(Option::kInfo, info_data(name)), OptionReply::kErrorUnknown) << length;
  }
  EXPECT_EQ(only_reply(Option::kInfo, info_data(std::string(4097, 'x'))),
            OptionReply::kErrorInvalid);
}

TEST_F(OptionsTest, AMessageThatQuotesALongNameStaysShort) {
  const auto replies =
      replies_in(answers_.answer(Option::kInfo, info_data(std::string(4096, 'n'))));
  EXPECT_LE(replies[0].data.size(), 200U);
}

TEST_F(OptionsTest, InfoDoesNotEnterAnExport) {
  const auto answer = answers_.answer(Option::kInfo, info_data("disk"));
  EXPECT_EQ(answer.next, Next::kOption);
  EXPECT_EQ(replies_in(answer).back().type, OptionReply::kAck);
  EXPECT_EQ(answers_.session().served, nullptr);
}

TEST_F(OptionsTest, GoEntersAnExportAndTellsItsSize) {
  const auto answer = answers_.answer(Option::kGo, info_data("disk"));
  EXPECT_EQ(answer.next, Next::kTransmission);
  EXPECT_EQ(answers_.session().served, &served_);
  const auto replies = replies_in(answer);
  const Result<InfoReply> info = decode_info_reply(replies[replies.size() - 2].data);
  EXPECT_EQ(info->summary.size, 1_MiB);
}

TEST_F(OptionsTest, AnExportWithoutAMediumHasSizeZero) {
  EXPECT_TRUE(world_.wait(backend_->eject_medium(Backend::Eject::kForce)));
  const auto replies = replies_in(answers_.answer(Option::kGo, info_data("disk")));
  const Result<InfoReply> info = decode_info_reply(replies[replies.size() - 2].data);
  EXPECT_EQ(info->summary.size, 0U);
}

TEST_F(OptionsTest, AnUnknownExportByNameAloneEndsTheConnection) {
  const std::string name = "nope";
  const auto answer =
      answers_.answer(Option::kExportName, std::as_bytes(std::span(name.data(), name.size())));
  EXPECT_EQ(answer.next, Next::kEnd);
  EXPECT_TRUE(answer.bytes.empty());
}

TEST_F(OptionsTest, ContextsNeedStructuredReplies) {
  EXPECT_EQ(only_reply(Option::kSetMetaContext, context_data("disk", {"base:allocation"})),
            OptionReply::kErrorInvalid);
}

TEST_F(OptionsTest, ContextsAreListedByNamespaceAndChosenByName) {
  EXPECT_EQ(only_reply(Option::kStructuredReply), OptionReply::kAck);
  using Names = std::vector<std::string>;
  const auto list = [this](std::vector<std::string> queries) {
    return contexts_in(
        answers_.answer(Option::kListMetaContext, context_data("disk", std::move(queries))));
  };
  EXPECT_EQ(list({}), (Names{"base:allocation", "qemu:allocation-depth"}));
  EXPECT_EQ(list({"base:"}), (Names{"base:allocation"}));
  EXPECT_EQ(list({"qemu:"}), (Names{"qemu:allocation-depth"}));
  EXPECT_EQ(list({"qemu:dirty-bitmap:"}), Names{});
  EXPECT_EQ(list({"base:x", "x:"}), Names{});
  const auto choose = [this](std::vector<std::string> queries) {
    return contexts_in(
        answers_.answer(Option::kSetMetaContext, context_data("disk", std::move(queries))));
  };
  EXPECT_EQ(choose({"base:"}), Names{});
  EXPECT_EQ(choose({}), Names{});
  EXPECT_EQ(choose({"base:allocation", "base:allocation"}), (Names{"base:allocation"}));
}

TEST_F(OptionsTest, ContextsOfAnotherExportAreForgotten) {
  ServedExport other;
  other.name = "other";
  other.backend = backend_.get();
  EXPECT_TRUE(exports_.add(other));
  EXPECT_EQ(only_reply(Option::kStructuredReply), OptionReply::kAck);
  (void)answers_.answer(Option::kSetMetaContext, context_data("other", {"base:allocation"}));
  (void)answers_.answer(Option::kGo, info_data("disk"));
  EXPECT_TRUE(answers_.session().contexts.empty());
}

TEST_F(OptionsTest, WhereTlsIsRequiredNothingElseIsAnswered) {
  terms_.tls = Terms::Tls::kRequired;
  OptionAnswers plain(terms_);
  for (const Option option : {Option::kList, Option::kInfo, Option::kGo, Option::kStructuredReply,
                              Option::kListMetaContext, Option::kSetMetaContext}) {
    const auto answer = plain.answer(option, info_data("disk"));
    EXPECT_EQ(replies_in(answer)[0].type, OptionReply::kErrorTlsRequired);
    EXPECT_EQ(answer.next, Next::kOption);
  }
  EXPECT_EQ(plain.answer(Option::kExportName, {}).next, Next::kEnd);
  EXPECT_EQ(plain.answer(Option::kStartTls, {}).next, Next::kTls);
  plain.tls_started();
  EXPECT_EQ(plain.answer(Option::kGo, info_data("disk")).next, Next::kTransmission);
}

TEST_F(OptionsTest, WhatWasAgreedBeforeTlsIsForgotten) {
  EXPECT_EQ(only_reply(Option::kExtendedHeaders), OptionReply::kAck);
  answers_.tls_started();
  EXPECT_FALSE(answers_.session().structured());
  EXPECT_EQ(answers_.session().headers, Headers::kCompact);
}

TEST_F(OptionsTest, AClientWithFlagsThatNobodyKnowsIsRefused) {
  EXPECT_TRUE(answers_.set_client_flags(3));
  const Result<void> refused = answers_.set_client_flags(4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), "nbd-client-flags");
}

}  // namespace
}  // namespace ashlar::nbd
