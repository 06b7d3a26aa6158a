// Requests from several loops while the medium changes under them: each sees one medium, whole.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "ashlar/graph.h"
#include "async/on_loop.h"
#include "async/sync.h"
#include "testing/simulated_runtime.h"

namespace ashlar {
namespace {

constexpr uint64_t kSize = 64_KiB;
constexpr uint64_t kPiece = 4_KiB;

/// Waits now and then, so that requests of several loops mix.
Task<void> dawdle() {
  const uint64_t pick = Loop::current().random() % 8;
  if (pick == 0) co_await sleep_for(2000);
  if (pick < 4) co_await yield();
}

struct StampOptions {
  std::optional<uint64_t> value;
  static constexpr auto table() {
    return std::array{number_option("value", &StampOptions::value, "what it reads as")};
  }
};

/// Storage that reads as one value everywhere, and notes how much of each write came to it.
class StampDriver final : public Driver {
 public:
  explicit StampDriver(uint8_t value) : value_(value) {}
  NodeInfo info() const override {
    NodeInfo info;
    info.size = kSize;
    return info;
  }
  Task<Result<void>> read(ByteRange, MutableBuffers into) override {
    co_await dawdle();
    into.fill(std::byte{value_});
    co_return ok();
  }
  Task<Result<void>> write(ByteRange, ConstBuffers from, WriteFlags) override {
    co_await dawdle();
    std::vector<std::byte> data(from.size());
    from.copy_to(data);
    uint64_t id = 0;
    std::memcpy(&id, data.data(), sizeof id);
    const std::lock_guard lock(guard_);
    written_[id] += data.size();
    co_return ok();
  }
  const std::map<uint64_t, uint64_t>& written() const { return written_; }

 private:
  const uint8_t value_;
  std::mutex guard_;
  std::map<uint64_t, uint64_t> written_;
};

Task<Result<std::unique_ptr<Driver>>> open_stamp(OpenContext& context) {
  Result<StampOptions> options = take_options<StampOptions>(context.options());
  if (!options) co_return fail(options.error());
  std::unique_ptr<Driver> driver =
      std::make_unique<StampDriver>(static_cast<uint8_t>(options->value.value_or(0)));
  co_return std::move(driver);
}

/// A format whose every piece is looked up by itself, half of them not resident.
class PiecesDriver final : public FormatDriver {
 public:
  explicit PiecesDriver(Child* file) : file_(file) {}
  NodeInfo info() const override {
    NodeInfo info;
    info.size = kSize;
    return info;
  }
  std::optional<Mapping> lookup(ByteRange guest) const noexcept override {
    if (guest.offset / kPiece % 2 == 1) return std::nullopt;
    return mapping_of(guest);
  }
  Task<Result<Mapping>> map(ByteRange guest) override {
    co_await dawdle();
    co_return mapping_of(guest);
  }

 private:
  Mapping mapping_of(ByteRange guest) const {
    return {kPiece - guest.offset % kPiece, InFile{file_, guest.offset, true}};
  }
  Child* file_;
};

Task<Result<std::unique_ptr<Driver>>> open_pieces(OpenContext& context) {
  Result<Child*> file = co_await context.open_child("file", ChildRole::kFiltered);
  if (!file) co_return fail(file.error());
  std::unique_ptr<Driver> driver = std::make_unique<PiecesDriver>(*file);
  co_return std::move(driver);
}

constexpr DriverSpec kStamp{
    .name = "stamp", .summary = "", .kind = NodeKind::kStorage, .open = open_stamp};
constexpr DriverSpec kPieces{
    .name = "pieces", .summary = "", .kind = NodeKind::kFormat, .open = open_pieces};
constexpr std::array<const DriverSpec*, 2> kDrivers{&kStamp, &kPieces};

/// What the workers of one run share.
struct Run {
  Backend* backend = nullptr;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> writes{0};
  std::atomic<uint64_t> next_id{1};
  std::atomic<uint64_t> torn{0};
  std::atomic<uint64_t> wrong{0};  // errors other than "no medium"
};

Task<void> read_once(Run& run, std::vector<std::byte>& buffer) {
  const MutableBuffers into(buffer.data(), buffer.size());
  const Result<void> read = co_await run.backend->read({0, buffer.size()}, into);
  if (!read) {
    run.wrong += read.error().code() != ErrorCode::kNoMedium;
    co_return;
  }
  ++run.reads;
  const std::byte first = buffer[0];
  run.torn += !std::all_of(buffer.begin(), buffer.end(), [first](std::byte byte) {
    return byte == first && (byte == std::byte{1} || byte == std::byte{2});
  });
}

Task<void> write_once(Run& run, std::vector<std::byte>& buffer, std::set<uint64_t>& written) {
  const uint64_t id = run.next_id++;
  for (size_t at = 0; at < buffer.size(); at += kPiece) {
    std::memcpy(buffer.data() + at, &id, sizeof id);
  }
  const ConstBuffers from(buffer.data(), buffer.size());
  const Result<void> done = co_await run.backend->write({0, buffer.size()}, from, {});
  if (done) {
    ++run.writes;
    written.insert(id);
  } else {
    run.wrong += done.error().code() != ErrorCode::kNoMedium;
  }
}

Task<void> work(Run& run, std::set<uint64_t>& written) {
  std::vector<std::byte> buffer(32_KiB);
  while (!run.stop.load()) {
    co_await read_once(run, buffer);
    co_await write_once(run, buffer, written);
    co_await yield();
  }
}

Task<void> work_on(Loop& loop, Run& run, std::set<uint64_t>& written) {
  OnLoop<void> there(loop, work(run, written));
  co_await there;
}

Task<NodeRef> open_from(Graph& graph, OptionDict options) {
  Result<NodeRef> opened = co_await graph.open(std::move(options));
  EXPECT_TRUE(opened);
  co_return std::move(*opened);
}

/// Storage number `i`, kept to the end for what was written to it.
Task<void> add_storage(Graph& graph, std::vector<NodeRef>& storage) {
  const size_t number = storage.size();
  OptionDict options;
  options.set("driver", std::string("stamp"));
  options.set("node-name", "s" + std::to_string(number));
  options.set("value", static_cast<int64_t>(1 + number % 2));
  storage.push_back(co_await open_from(graph, std::move(options)));
}

Task<NodeRef> open_medium(Graph& graph, const NodeRef& storage) {
  OptionDict options;
  options.set("driver", std::string("pieces"));
  options.set("file", storage->name());
  return open_from(graph, std::move(options));
}

/// Another medium, or other storage below the medium there is; what was there closes.
Task<void> change_often(Graph& graph, Backend& backend, std::vector<NodeRef>& storage,
                        unsigned changes) {
  for (unsigned i = 0; i < changes; ++i) {
    co_await add_storage(graph, storage);
    const NodeRef& next = storage.back();
    Result<void> changed = ok();
    if (i % 2 == 0) {
      changed = co_await graph.replace_node(*storage[storage.size() - 2], next);
    } else {
      NodeRef medium = co_await open_medium(graph, next);
      if (i % 10 == 9) changed = co_await backend.eject_medium(Backend::Eject::kForce);
      EXPECT_TRUE(changed);
      changed = co_await backend.change_medium(std::move(medium), Backend::Eject::kForce);
    }
    EXPECT_TRUE(changed);
    co_await yield();
  }
}

/// Every write that succeeded is whole, in one place.
void check_writes(const std::vector<NodeRef>& storage,
                  const std::vector<std::set<uint64_t>>& written) {
  std::map<uint64_t, std::vector<uint64_t>> found;
  for (const NodeRef& node : storage) {
    const auto& driver = dynamic_cast<const StampDriver&>(node->driver());
    for (const auto& [id, bytes] : driver.written()) found[id].push_back(bytes);
  }
  const std::vector<uint64_t> whole{32_KiB};
  for (const std::set<uint64_t>& ids : written) {
    for (const uint64_t id : ids) EXPECT_EQ(found[id], whole) << id;
  }
}

Task<void> run_all(Runtime& runtime, Graph& graph, unsigned changes) {
  Result<BackendRef> backend = graph.create_backend("disk");
  const Permissions used = Permission::kConsistentRead | Permission::kWrite;
  EXPECT_TRUE((*backend)->set_permissions(used, Permissions::all()));
  std::vector<NodeRef> storage;
  co_await add_storage(graph, storage);
  NodeRef first = co_await open_medium(graph, storage.front());
  const Result<void> inserted = co_await (*backend)->insert_medium(std::move(first));
  EXPECT_TRUE(inserted);

  Run run;
  run.backend = backend->get();
  const unsigned loops = runtime.loop_count() - 1;
  std::vector<std::set<uint64_t>> written(3 * loops);
  Scope workers;
  for (size_t i = 0; i < written.size(); ++i) {
    workers.spawn(work_on(runtime.loop(1 + i % loops), run, written[i]));
  }
  co_await change_often(graph, **backend, storage, changes);
  while (run.reads.load() < 20 || run.writes.load() < 20) co_await sleep_for(100'000);
  run.stop.store(true);
  co_await workers.join();
  EXPECT_EQ(run.torn.load(), 0u);
  EXPECT_EQ(run.wrong.load(), 0u);
  check_writes(storage, written);
  storage.clear();
  *backend = BackendRef();
  const Result<void> closed = co_await graph.close();
  EXPECT_TRUE(closed);
}

TEST(ChangeMediumUnderLoad, ShowsNoRequestHalfOfIt) {
  RuntimeOptions options;
  options.io_loops = 3;
  const std::unique_ptr<Runtime> runtime = Runtime::create(options);
  Graph graph(*runtime, {.drivers = kDrivers, .resolver = {}, .limits = {}});
  sync_wait(*runtime, run_all(*runtime, graph, 1000));
}

TEST(ChangeMediumUnderLoad, ShowsNoRequestHalfOfItInAnyOrder) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SimulatedRuntime runtime(seed, 4);
    Graph graph(runtime, {.drivers = kDrivers, .resolver = {}, .limits = {}});
    sync_wait(runtime, run_all(runtime, graph, 50));
  }
}

}  // namespace
}  // namespace ashlar
