// Commands on nodes in memory, named backends, trays, exports, objects, jobs and events.
#include <gtest/gtest.h>

#include "async/on_loop.h"
#include "testing/monitor_world.h"
#include "testing/simulated_runtime.h"

namespace ashlar::monitor {
namespace {

using testing::MonitorWorld;

/// A device with a tray, as an export.
class TrayExport final : public Export, private DeviceCallbacks {
 public:
  explicit TrayExport(ExportSetup setup) : setup_(std::move(setup)) {
    locked_ = *setup_.options.take_switch("locked");
    EXPECT_TRUE(setup_.backend->attach_device(*this, Backend::Origin::kIndependent));
  }
  bool in_use() const override { return locked_.value_or(false); }
  Task<void> close() override {
    setup_.backend->detach_device();
    setup_.backend = BackendRef();
    co_return;
  }

 private:
  std::string describe() const override { return "tray \"" + setup_.id + "\""; }
  bool has_tray() const override { return true; }
  bool tray_open() const override { return open_; }
  bool tray_locked() const override { return locked_.value_or(false); }
  void tray_moved(bool open) override { open_ = open; }

  ExportSetup setup_;
  std::optional<bool> locked_;
  bool open_ = false;
};

struct TrayOptions {
  bool locked = false;
  static constexpr auto table() {
    return std::array{option("locked", &TrayOptions::locked, "the medium is held")};
  }
};

Task<Result<std::unique_ptr<Export>>> start_tray(ExportSetup setup) {
  std::unique_ptr<Export> made = std::make_unique<TrayExport>(std::move(setup));
  co_return std::move(made);
}

constexpr ExportSpec kTray{
    .name = "tray", .summary = "", .options = describe_options<TrayOptions>, .start = start_tray};
constexpr std::array<const ExportSpec*, 1> kTrays{&kTray};

constexpr std::string_view kDisk = R"({"driver":"null-co","node-name":"disk","size":65536})";

TEST(Nodes, AreOpenedOnceByNameAndClosedWhenNobodyUsesThem) {
  MonitorWorld world;
  EXPECT_EQ(world.run("blockdev-add", kDisk), "{}");
  EXPECT_TRUE(world.run("blockdev-add", kDisk).starts_with("!"));
  EXPECT_EQ(world.run("blockdev-add", R"({"driver":"null-co"})"),
            "!'node-name' must be specified for the root node");
  EXPECT_EQ(world.run("blockdev-add", R"({"driver":"raw","node-name":"top","file":"disk"})"), "{}");
  EXPECT_EQ(world.run("blockdev-del", R"({"node-name":"disk"})"), "!Block device disk is in use");
  EXPECT_NE(world.run("query-named-block-nodes").find(R"("node-name": "top")"), std::string::npos);
  EXPECT_NE(world.run("query-blockstats", R"({"query-nodes":true})").find("top"),
            std::string::npos);
  EXPECT_EQ(world.run("blockdev-del", R"({"node-name":"top"})"), "{}");
  EXPECT_EQ(world.run("blockdev-del", R"({"node-name":"disk"})"), "{}");
  EXPECT_EQ(world.run("query-named-block-nodes"), "[]");
}

TEST(Nodes, OfAnotherOwnerAreNotClosed) {
  MonitorWorld world;
  EXPECT_EQ(world.run("blockdev-add", R"({"driver":"raw","node-name":"top","file":
                                          {"driver":"null-co","node-name":"below"}})"),
            "{}");
  EXPECT_EQ(world.run("blockdev-del", R"({"node-name":"below"})"),
            "!Node below is not owned by the monitor");
}

TEST(Backends, AreListedInOrderAndGoWithTheirName) {
  MonitorWorld world;
  EXPECT_EQ(world.run("blockdev-add", kDisk), "{}");
  EXPECT_EQ(world.run("backend-add", R"({"id":"b","node-name":"disk"})"), "{}");
  EXPECT_EQ(world.run("backend-add", R"({"id":"a"})"), "{}");
  const std::string list = world.run("query-block");
  EXPECT_LT(list.find(R"("device": "b")"), list.find(R"("device": "a")"));
  EXPECT_NE(world.run("query-blockstats").find(R"("device": "a")"), std::string::npos);
  EXPECT_TRUE(world.run("backend-add", R"({"id":"disk"})").starts_with("!name \"disk\" is taken"));
  EXPECT_EQ(world.run("backend-del", R"({"id":"b"})"), "{}");
  EXPECT_EQ(world.run("backend-del", R"({"id":"b"})"), "!Device 'b' not found");
  EXPECT_EQ(world.events(), "BACKEND_DELETED");
  EXPECT_EQ(world.run("blockdev-del", R"({"node-name":"disk"})"), "{}");
}

TEST(Backends, WithAFailedMediumAreNotMade) {
  MonitorWorld world;
  EXPECT_EQ(world.run("backend-add", R"({"id":"b","node-name":"nothere"})"),
            "!Failed to find node with node-name='nothere'");
  EXPECT_EQ(world.run("query-block"), "[]");
  EXPECT_EQ(world.run("backend-add", R"({"id":"b"})"), "{}");
}

TEST(Trays, OpenForTheMediumAndAreTold) {
  MonitorWorld world(kTrays);
  world.run("blockdev-add", kDisk);
  world.run("backend-add", R"({"id":"cd","node-name":"disk"})");
  EXPECT_EQ(world.run("block-export-add", R"({"type":"tray","id":"t","backend":"cd"})"), "{}");
  EXPECT_EQ(world.run("blockdev-remove-medium", R"({"id":"cd"})"),
            "!Tray of device 'cd' is not open");
  EXPECT_EQ(world.run("blockdev-open-tray", R"({"id":"t"})"), "{}");
  EXPECT_EQ(world.events(), "DEVICE_TRAY_MOVED");
  EXPECT_EQ(world.run("blockdev-open-tray", R"({"id":"cd"})"), "{}");
  EXPECT_EQ(world.events(), "");
  EXPECT_EQ(world.run("blockdev-remove-medium", R"({"id":"cd"})"), "{}");
  EXPECT_NE(world.run("query-block").find(R"("tray_open": true)"), std::string::npos);
  EXPECT_EQ(world.run("blockdev-insert-medium", R"({"id":"cd","node-name":"disk"})"), "{}");
  EXPECT_EQ(world.run("blockdev-insert-medium", R"({"id":"cd","node-name":"disk"})"),
            "!There already is a medium in the device");
  EXPECT_EQ(world.run("blockdev-close-tray", R"({"id":"cd"})"), "{}");
  EXPECT_EQ(world.events(), "DEVICE_TRAY_MOVED");
  EXPECT_EQ(world.run("eject", R"({"id":"cd"})"), "{}");
  EXPECT_EQ(world.events(), "DEVICE_TRAY_MOVED");
}

TEST(Trays, ThatAreLockedOpenByForceOnly) {
  MonitorWorld world(kTrays);
  world.run("blockdev-add", kDisk);
  world.run("backend-add", R"({"id":"cd","node-name":"disk"})");
  world.run("block-export-add", R"({"type":"tray","id":"t","backend":"cd","locked":true})");
  EXPECT_NE(world.run("query-block").find(R"("locked": true)"), std::string::npos);
  EXPECT_EQ(world.run("blockdev-open-tray", R"({"id":"cd"})"),
            "!Device 'cd' is locked and force was not specified, wait for tray to open and try "
            "again");
  EXPECT_TRUE(world.run("eject", R"({"id":"cd"})").starts_with("!"));
  EXPECT_EQ(world.events(), "");
  EXPECT_EQ(world.run("eject", R"({"id":"cd","force":true})"), "{}");
  EXPECT_EQ(world.events(), "DEVICE_TRAY_MOVED");
}

TEST(Trays, OfWhatIsNotRemovableStayClosed) {
  MonitorWorld world(kTrays);
  world.run("backend-add", R"({"id":"hd","removable":false})");
  for (const char* command : {"eject", "blockdev-open-tray", "blockdev-remove-medium"}) {
    EXPECT_EQ(world.run(command, R"({"id":"hd"})"), "!Device 'hd' is not removable");
  }
  world.run("backend-add", R"({"id":"fd"})");
  EXPECT_EQ(world.run("blockdev-open-tray", R"({"id":"fd"})"), "!Device 'fd' does not have a tray");
}

TEST(Exports, HaveOneIdEachAndTellWhenItIsFree) {
  MonitorWorld world(kTrays);
  world.run("blockdev-add", kDisk);
  constexpr std::string_view kAdd = R"({"type":"tray","id":"t","node-name":"disk"})";
  EXPECT_EQ(world.run("block-export-add", kAdd), "{}");
  EXPECT_EQ(world.run("block-export-add", kAdd), "!export \"t\" exists already");
  EXPECT_NE(world.run("query-block-exports").find(R"("node-name": "disk")"), std::string::npos);
  EXPECT_EQ(world.run("blockdev-del", R"({"node-name":"disk"})"), "!Node disk is in use");
  EXPECT_EQ(world.run("block-export-del", R"({"id":"t"})"), "{}");
  EXPECT_EQ(world.events(), "BLOCK_EXPORT_DELETED");
  EXPECT_EQ(world.run("blockdev-del", R"({"node-name":"disk"})"), "{}");
}

TEST(Exports, OfABackendThatIsInUseAreRefusedAndNameTheUser) {
  MonitorWorld world(kTrays);
  world.run("backend-add", R"({"id":"cd"})");
  world.run("block-export-add", R"({"type":"tray","id":"t","backend":"cd"})");
  EXPECT_EQ(world.run("block-export-add", R"({"type":"tray","id":"u","backend":"cd"})"),
            "!backend \"cd\" is in use by tray \"t\"");
  EXPECT_EQ(world.run("block-export-add", R"({"type":"tray","id":"u"})"),
            "!export: give either \"node-name\" or \"backend\"");
  EXPECT_EQ(world.run("block-export-add", R"({"type":"tray","id":"u","backend":"no"})"),
            "!there is no backend \"no\"");
  EXPECT_EQ(
      world.run("block-export-add", R"({"type":"tray","id":"u","backend":"cd","iothread":"no"})"),
      "!export: there is no iothread \"no\"");
}

TEST(Exports, ThatAreInUseGoOnlyHard) {
  MonitorWorld world(kTrays);
  world.run("backend-add", R"({"id":"cd"})");
  world.run("block-export-add", R"({"type":"tray","id":"t","backend":"cd","locked":true})");
  EXPECT_EQ(world.run("block-export-del", R"({"id":"t"})"), "!export \"t\" has clients");
  EXPECT_EQ(world.run("block-export-del", R"({"id":"t","mode":"hard"})"), "{}");
  EXPECT_EQ(world.events(), "BLOCK_EXPORT_DELETED");
}

TEST(Objects, AreSecretsWhoseBytesAreThoseThatWereMeant) {
  MonitorWorld world;
  const Objects& objects = world.monitor().objects();
  world.run("object-add", R"({"qom-type":"secret","id":"a","data":"hi"})");
  world.run("object-add", R"({"qom-type":"secret","id":"b","data":"aGk=","format":"base64"})");
  EXPECT_EQ(objects.secret("a").value(), "hi");
  EXPECT_EQ(objects.secret("b").value(), "hi");
  EXPECT_EQ(world.run("object-add", R"({"qom-type":"secret","id":"c"})"),
            "!Either 'file' or 'data' must be provided");
  EXPECT_EQ(
      world.run("object-add", R"({"qom-type":"secret","id":"c","data":"!","format":"base64"})"),
      "!Base64 data contains invalid characters");
  EXPECT_EQ(world.run("object-del", R"({"id":"a"})"), "{}");
  EXPECT_FALSE(objects.secret("a"));
  EXPECT_EQ(world.run("object-del", R"({"id":"a"})"), "!object 'a' not found");
}

TEST(Objects, MayBeEncryptedWithAnother) {
  MonitorWorld world;
  // 32 bytes of zero, and "secret" encrypted with them by AES-256-CBC under a vector of zeroes.
  world.run("object-add", R"({"qom-type":"secret","id":"key","format":"base64",
      "data":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="})");
  EXPECT_EQ(world.run("object-add", R"({"qom-type":"secret","id":"s","format":"base64",
      "keyid":"key","iv":"AAAAAAAAAAAAAAAAAAAAAA==","data":"4gLIrZreSUl9LCrYSPMJzw=="})"),
            "{}");
  EXPECT_EQ(world.monitor().objects().secret("s").value(), "secret");
  EXPECT_EQ(world.run("object-add", R"({"qom-type":"secret","id":"x","data":"a","keyid":"no"})"),
            "!No secret with id 'no'");
}

TEST(Objects, AreSeenByPath) {
  MonitorWorld world;
  world.run("object-add", R"({"qom-type":"iothread","id":"t","poll-max-ns":5})");
  EXPECT_EQ(world.run("qom-get", R"({"path":"/objects/t","property":"poll-max-ns"})"), "5");
  EXPECT_EQ(world.run("qom-get", R"({"path":"t","property":"thread-pool-max"})"), "64");
  EXPECT_EQ(world.run("qom-get", R"({"path":"/objects/t","property":"x"})"),
            "!Property 'iothread.x' not found");
  EXPECT_EQ(world.run("qom-list", R"({"path":"/nope"})"), "!Device '/nope' not found");
  EXPECT_NE(world.run("qom-list", R"({"path":"/objects"})").find("child<iothread>"),
            std::string::npos);
  EXPECT_NE(world.run("qom-list-types", R"({"implements":"tls-creds"})").find("tls-creds-psk"),
            std::string::npos);
}

TEST(IoThreads, AreTunedWhileTheyRun) {
  MonitorWorld world;
  const auto value_of = [&world](const std::string& name) {
    return world.run("qom-get", R"({"path":"t","property":")" + name + "\"}");
  };
  world.run("object-add", R"({"qom-type":"iothread","id":"t","poll-grow":3})");
  EXPECT_EQ(value_of("poll-max-ns"), "32768");
  EXPECT_EQ(value_of("poll-grow"), "3");
  EXPECT_EQ(world.run("qom-set", R"({"path":"t","property":"poll-max-ns","value":0})"), "{}");
  EXPECT_EQ(world.run("qom-set", R"({"path":"t","property":"poll-shrink","value":-1})"),
            "!poll-shrink value must be in range [0, 9223372036854775807]");
  EXPECT_EQ(world.run("qom-set", R"({"path":"t","property":"thread-pool-max","value":0})"),
            "!bad thread-pool-min/thread-pool-max values");
  EXPECT_EQ(value_of("poll-max-ns") + value_of("poll-shrink") + value_of("thread-pool-max"),
            "0064");
  EXPECT_EQ(world.run("object-add", R"({"qom-type":"iothread","id":"u","thread-pool-min":65})"),
            "!bad thread-pool-min/thread-pool-max values");
}

Task<unsigned> index_here() { co_return Loop::current().index(); }

Task<unsigned> index_on(Loop& loop) {
  OnLoop<unsigned> there(loop, index_here());
  co_return co_await there;
}

TEST(IoThreads, AreLoopsThatAreTakenOnceAndComeBack) {
  MonitorWorld world;
  for (int round = 0; round < 20; ++round) {
    for (unsigned number = 0; number < MonitorWorld::kLoops; ++number) {
      const std::string id = "t" + std::to_string(number);
      EXPECT_EQ(world.run("object-add", R"({"qom-type":"iothread","id":")" + id + "\"}"), "{}");
      Loop* loop = world.monitor().objects().iothread(id);
      ASSERT_NE(loop, nullptr);
      EXPECT_EQ(world.wait(index_on(*loop)), loop->index());
      EXPECT_NE(loop->index(), 0u);
    }
    EXPECT_TRUE(world.run("object-add", R"({"qom-type":"iothread","id":"x"})").starts_with("!"));
    for (unsigned number = 0; number < MonitorWorld::kLoops; ++number) {
      EXPECT_EQ(world.run("object-del", R"({"id":"t)" + std::to_string(number) + "\"}"), "{}");
    }
  }
}

TEST(IoThreads, StayWhileAnExportServesThere) {
  MonitorWorld world(kTrays);
  world.run("object-add", R"({"qom-type":"iothread","id":"t"})");
  world.run("backend-add", R"({"id":"cd"})");
  EXPECT_EQ(
      world.run("block-export-add", R"({"type":"tray","id":"e","backend":"cd","iothread":["t"]})"),
      "{}");
  EXPECT_EQ(world.run("object-del", R"({"id":"t"})"), "!object 't' is in use, can not be deleted");
  world.run("block-export-del", R"({"id":"e","mode":"hard"})");
  EXPECT_EQ(world.run("object-del", R"({"id":"t"})"), "{}");
}

Task<Result<void>> fail_later() {
  co_await yield();
  co_return fail(ErrorCode::kIo, "broken");
}

Task<void> start_failing_job(Monitor& monitor) {
  EXPECT_TRUE(monitor.jobs().start("j", "create", fail_later()));
  EXPECT_FALSE(monitor.jobs().dismiss("j"));
  for (int round = 0; round < 10; ++round) co_await yield();
}

TEST(JobList, KeepsAResultUntilItIsDismissed) {
  MonitorWorld world;
  sync_wait(world.runtime(), start_failing_job(world.monitor()));
  EXPECT_EQ(world.events(),
            "JOB_STATUS_CHANGE:created JOB_STATUS_CHANGE:running JOB_STATUS_CHANGE:aborting "
            "JOB_STATUS_CHANGE:concluded");
  EXPECT_NE(world.run("query-jobs").find(R"("error": "broken")"), std::string::npos);
  EXPECT_EQ(world.run("job-cancel", R"({"id":"j"})"),
            "!Job 'j' in state 'concluded' cannot accept command verb 'cancel'");
  EXPECT_EQ(world.run("job-dismiss", R"({"id":"j"})"), "{}");
  EXPECT_EQ(world.events(), "JOB_STATUS_CHANGE:null");
  EXPECT_EQ(world.run("job-dismiss", R"({"id":"j"})"), "!Job not found");
}

Json io_error(std::string_view device, int number) {
  return {{"device", device}, {"action", "report"}, {"reason", std::to_string(number)}};
}

Task<void> emit_errors(Monitor& monitor) {
  for (int number = 0; number < 10; ++number) {
    monitor.events().emit("BLOCK_IO_ERROR", io_error("a", number));
  }
  monitor.events().emit("BLOCK_IO_ERROR", io_error("b", 0));
  co_await sleep_for(1'100'000'000);
  monitor.events().emit("BLOCK_IO_ERROR", io_error("b", 1));
}

TEST(EventRates, KeepTheLastOfASecondPerDevice) {
  auto simulated = std::make_unique<SimulatedRuntime>(1, MonitorWorld::kLoops + 1);
  MonitorWorld world(std::move(simulated), kTrays);
  sync_wait(world.runtime(), emit_errors(world.monitor()));
  // At once: one of each device; after a second: the last of "a", and "b" anew.
  EXPECT_EQ(world.events(), "BLOCK_IO_ERROR BLOCK_IO_ERROR BLOCK_IO_ERROR BLOCK_IO_ERROR");
}

TEST(Schema, NamesEveryTypeItUses) {
  MonitorWorld world;
  const Result<Json> schema = world.monitor().schema();
  ASSERT_TRUE(schema);
  std::set<std::string> defined;
  std::set<std::string> used;
  for (const Json& entry : *schema) {
    EXPECT_TRUE(defined.insert(entry["name"]).second) << entry["name"];
    for (const char* member : {"arg-type", "ret-type", "element-type"}) {
      if (entry.contains(member)) used.insert(entry[member].get<std::string>());
    }
    for (const char* list : {"members", "variants"}) {
      if (!entry.contains(list)) continue;
      for (const Json& each : entry[list]) {
        if (each.contains("type")) used.insert(each["type"].get<std::string>());
      }
    }
    if (entry["meta-type"] == "builtin") {
      EXPECT_TRUE(entry["json-type"] != "value" || entry["name"] == "any") << entry;
    }
  }
  for (const std::string& name : used) EXPECT_TRUE(defined.contains(name)) << name;
}

}  // namespace
}  // namespace ashlar::monitor
