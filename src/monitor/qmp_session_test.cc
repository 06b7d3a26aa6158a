// QMP clients over streams in memory: negotiation, order, out-of-band, several at once, bad input.
#include "monitor/qmp_session.h"

#include <gtest/gtest.h>

#include "testing/memory_stream.h"
#include "testing/monitor_world.h"

namespace ashlar::monitor {
namespace {

using testing::MonitorWorld;

/// Where a session is found while it runs.
struct Bench {
  Bench() {
    world.on_quit([this] {
      if (session != nullptr) session->stop();
    });
  }
  MonitorWorld world;
  QmpSession* session = nullptr;
};

Task<void> serve(Bench& bench, std::unique_ptr<Stream> stream) {
  QmpSession session(bench.world.monitor(), *stream, QmpSession::Layout::kLines);
  bench.session = &session;
  co_await session.run();
  bench.session = nullptr;
  stream->shut_down();
}

/// Sends `text` and returns what came back, line by line.
Task<std::vector<std::string>> talk(Bench& bench, std::string text) {
  auto [mine, theirs] = testing::memory_stream_pair();
  const std::unique_ptr<Stream> client = std::move(mine);
  Scope scope;
  scope.spawn(serve(bench, std::move(theirs)));
  text += "\x04";
  const ConstBuffers from(reinterpret_cast<const std::byte*>(text.data()), text.size());
  (void)co_await client->write_all(from);
  std::string all;
  std::vector<std::byte> bytes(4096);
  const MutableBuffers into(bytes.data(), bytes.size());
  // The stray byte at the end is answered last.
  while (all.find("stray") == all.npos) {
    const Result<size_t> got = co_await client->read_some(into);
    if (!got || *got == 0) break;
    all.append(reinterpret_cast<const char*>(bytes.data()), *got);
  }
  client->shut_down();
  co_await scope.join();
  std::vector<std::string> lines;
  for (size_t end = all.find("\r\n"); end != all.npos; end = all.find("\r\n")) {
    lines.push_back(all.substr(0, end));
    all.erase(0, end + 2);
  }
  if (!lines.empty() && lines.back().find("stray") != std::string::npos) lines.pop_back();
  co_return lines;
}

using Lines = std::vector<std::string>;
constexpr std::string_view kStart = R"({"execute":"qmp_capabilities"})";

Lines answers(Bench& bench, const std::string& text) {
  Lines lines = sync_wait(bench.world.runtime(), talk(bench, std::string(kStart) + text));
  if (lines.size() >= 2) lines.erase(lines.begin(), lines.begin() + 2);
  return lines;
}

TEST(QmpSession, GreetsAndWantsNegotiationFirst) {
  Bench bench;
  const std::string text =
      std::string(R"({"execute":"query-jobs","id":1})") + std::string(kStart) + std::string(kStart);
  const Lines lines = sync_wait(bench.world.runtime(), talk(bench, text));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_TRUE(lines[0].starts_with(R"({"QMP": {"version": {"qemu": )"));
  EXPECT_EQ(lines[1], R"({"id": 1, "error": {"class": "CommandNotFound", "desc": )"
                      R"("Expecting capabilities negotiation with 'qmp_capabilities'"}})");
  EXPECT_EQ(lines[2], R"({"return": {}})");
  EXPECT_EQ(lines[3], R"({"error": {"class": "CommandNotFound", "desc": )"
                      R"("Capabilities negotiation is already complete, command ignored"}})");
}

TEST(QmpSession, EchoesAnyIdAndKeepsTheOrder) {
  Bench bench;
  EXPECT_EQ(answers(bench, R"({"execute":"query-jobs","id":{"a":[1,null]}}
                              {'execute':'query-block','id':'x'})"),
            (Lines{R"({"return": [], "id": {"a": [1, null]}})", R"({"return": [], "id": "x"})"}));
}

TEST(QmpSession, TellsWhatIsWrongWithAMessageAndGoesOn) {
  Bench bench;
  const auto error = [](const std::string& text) {
    return R"({"error": {"class": "GenericError", "desc": ")" + text + R"("}})";
  };
  EXPECT_EQ(answers(bench, R"([] {"bogus":1} {"execute":1} {} {"execute":"quit","arguments":[]}
                              {"execute":"query-jobs","arguments":{"x":1}} {"exec-oob":"quit"}
                              {"execute":"query-jobs"})"),
            (Lines{error("QMP input must be a JSON object"),
                   error("QMP input member 'bogus' is unexpected"),
                   error("QMP input member 'execute' must be a string"),
                   error("QMP input lacks member 'execute'"),
                   error("QMP input member 'arguments' must be an object"),
                   error("Parameter 'x' is unexpected"),
                   error("QMP input member 'exec-oob' is unexpected"), R"({"return": []})"}));
}

TEST(QmpSession, RunsOutOfBandOnlyWhatMayAndOnlyWhenAgreed) {
  Bench bench;
  const Lines lines = sync_wait(
      bench.world.runtime(), talk(bench,
                                  R"({"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}
              {"exec-oob":"query-jobs","id":1} {"exec-oob":"quit","id":2})"));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[2], R"({"return": [], "id": 1})");
  EXPECT_EQ(lines[3], R"({"id": 2, "error": {"class": "GenericError", "desc": )"
                      R"("The command quit does not support OOB"}})");
}

TEST(QmpSession, QuitsOnceItWasAnsweredAndDoesNothingAfterIt) {
  Bench bench;
  const Lines lines = answers(bench, R"({"execute":"quit"}{"execute":"query-jobs"})");
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(bench.world.quits(), 1u);
  for (const std::string& line : lines) EXPECT_EQ(line.find("[]"), line.npos) << line;
}

}  // namespace
}  // namespace ashlar::monitor
