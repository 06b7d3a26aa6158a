// Three I/O loops on threads of their own write, zero, discard, flush and verify one qcow2 image.
// They share clusters, not blocks. For the thread sanitizer, and to be right without it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ashlar/builtin.h"
#include "ashlar/graph.h"
#include "async/on_loop.h"
#include "async/sync.h"
#include "testing/qcow2_audit.h"
#include "testing/qcow2_builder.h"
#include "testing/seeded_random.h"
#include "testing/temporary_folder.h"

namespace ashlar {
namespace {

constexpr unsigned kLoops = 3;
constexpr unsigned kTasks = 4;  // of each loop
constexpr uint64_t kBlock = 1024;
constexpr unsigned kOwners = kLoops * kTasks;

/// One task: owns every kOwners-th block, and the clusters of an area of its own.
class Worker {
 public:
  Worker(Backend& backend, const Qcow2Shape& shape, unsigned number)
      : backend_(backend),
        shape_(shape),
        number_(number),
        random_(number + 1),
        versions_(shape.size / 2 / kBlock / kOwners),
        memory_(shape.cluster_size()) {}

  Task<void> run(unsigned steps) {
    for (unsigned i = 0; i < steps && failure_.empty(); ++i) {
      const uint64_t what = random_.below(16);
      Task<Result<void>> step = what < 15 ? on_cluster() : backend_.flush();
      if (what < 12) step = on_block(what);
      const Result<void> done = co_await step;
      if (!done) failure_ = done.error().message();
    }
    for (size_t i = 0; i < versions_.size() && failure_.empty(); ++i) co_await verify(i);
  }
  const std::string& failure() const { return failure_; }

 private:
  uint64_t offset_of(size_t index) const { return (index * kOwners + number_) * kBlock; }

  /// What the block holds: zeroes for version 0.
  std::vector<std::byte> content(size_t index) const {
    std::vector<std::byte> bytes(kBlock);
    const uint64_t version = versions_[index];
    if (version != 0) SeededRandom(offset_of(index) * 1000 + version).fill(bytes);
    return bytes;
  }

  Task<Result<void>> on_block(uint64_t what) {
    const size_t index = random_.below(versions_.size());
    const ByteRange range{offset_of(index), kBlock};
    if (what < 5) {
      co_await verify(index);
      co_return ok();
    }
    if (what < 7) {
      versions_[index] = 0;
      ZeroFlags flags;
      flags.may_unmap = what == 5;
      co_return co_await backend_.write_zeroes(range, flags);
    }
    versions_[index] = random_.next() | 1;
    const std::vector<std::byte> bytes = content(index);
    const ConstBuffers from(bytes.data(), bytes.size());
    WriteFlags flags;
    flags.fua = random_.one_in(20);
    co_return co_await backend_.write(range, from, flags);
  }

  /// Whole clusters of its own come and go, so that others get them next.
  Task<Result<void>> on_cluster() {
    const uint64_t size = shape_.cluster_size();
    const uint64_t own = shape_.size / 2 / size / kOwners;
    const uint64_t cluster = shape_.size / 2 / size + number_ * own + random_.below(own);
    const ByteRange range{cluster * size, size};
    if (random_.one_in(2)) co_return co_await backend_.discard(range);
    SeededRandom(random_.next()).fill(std::span(memory_).first(size / 4));
    const ConstBuffers from(memory_.data(), memory_.size());
    WriteFlags flags;
    flags.compressed = random_.one_in(2);
    co_return co_await backend_.write(range, from, flags);
  }

  Task<void> verify(size_t index) {
    std::vector<std::byte> read(kBlock);
    const ByteRange range{offset_of(index), kBlock};
    const MutableBuffers into(read.data(), read.size());
    const Result<void> done = co_await backend_.read(range, into);
    if (!done) failure_ = done.error().message();
    if (done && read != content(index)) failure_ = fmt::format("wrong at {:#x}", range.offset);
  }

  Backend& backend_;
  Qcow2Shape shape_;
  unsigned number_;
  SeededRandom random_;
  std::vector<uint64_t> versions_;
  std::vector<std::byte> memory_;
  std::string failure_;
};

Task<void> run_workers(std::vector<std::unique_ptr<Worker>>& workers, unsigned loop,
                       unsigned steps) {
  Scope scope;
  for (unsigned i = 0; i < kTasks; ++i) scope.spawn(workers[loop * kTasks + i]->run(steps));
  co_await scope.join();
}

Task<void> run_on(Loop& loop, Task<void> task) {
  OnLoop<void> there(loop, std::move(task));
  co_await there;
}

Task<Result<BackendRef>> backend_on(Graph& graph, NodeRef node) {
  BackendRef backend = *graph.create_backend();
  Result<void> done = co_await backend->insert_medium(std::move(node));
  const Permissions used = Permission::kConsistentRead | Permission::kWrite;
  if (done) done = backend->set_permissions(used, Permissions::all());
  if (!done) co_return fail(done.error());
  co_return backend;
}

/// What the storage below holds, for the audit.
Task<Result<SparseBytes>> bytes_of(Graph& graph) {
  Result<BackendRef> backend = co_await backend_on(graph, NodeRef(graph.find_node("f")));
  if (!backend) co_return fail(backend.error());
  std::vector<std::byte> all(*(*backend)->size());
  const ByteRange range{0, all.size()};
  const MutableBuffers into(all.data(), all.size());
  const Result<void> read = co_await (*backend)->read(range, into);
  if (!read) co_return fail(read.error());
  SparseBytes bytes(all.size());
  bytes.write(0, all);
  co_return bytes;
}

Task<Result<void>> load(Graph& graph, SparseBytes image) {
  Result<BackendRef> backend = co_await backend_on(graph, NodeRef(graph.find_node("f")));
  if (!backend) co_return fail(backend.error());
  std::vector<std::byte> all(image.size());
  image.read(0, all);
  const ByteRange range{0, all.size()};
  const ConstBuffers from(all.data(), all.size());
  co_return co_await (*backend)->write(range, from, {});
}

struct Run {
  Runtime& runtime;
  std::string storage;  // options of the node "f"
  Qcow2Shape shape;
  unsigned steps;
};

Task<std::string> work(Graph& graph, const Run& run) {
  const OptionDict options = *OptionDict::parse_key_value(
      "driver=qcow2,discard=unmap,file=f,l2-cache-size=4k,refcount-cache-size=4k");
  Result<NodeRef> node = co_await graph.open(options);
  if (!node) co_return node.error().message();
  Result<BackendRef> backend = co_await backend_on(graph, std::move(*node));
  if (!backend) co_return backend.error().message();
  std::vector<std::unique_ptr<Worker>> workers;
  for (unsigned i = 0; i < kOwners; ++i) {
    workers.push_back(std::make_unique<Worker>(**backend, run.shape, i));
  }
  Scope scope;
  for (unsigned i = 0; i < kLoops; ++i) {
    scope.spawn(run_on(run.runtime.loop(i + 1), run_workers(workers, i, run.steps)));
  }
  co_await scope.join();
  for (const auto& worker : workers) {
    if (!worker->failure().empty()) co_return worker->failure();
  }
  const Result<void> ejected = co_await (*backend)->eject_medium(Backend::Eject::kForce);
  co_return ejected ? "" : ejected.error().message();
}

Task<std::string> everything(const Run& run) {
  Graph::Options with;
  with.drivers = builtin_drivers();
  Graph graph(run.runtime, std::move(with));
  std::string failure;
  {
    Result<NodeRef> storage = co_await graph.open(*OptionDict::parse_key_value(run.storage));
    if (!storage) failure = storage.error().message();
    Result<void> loaded = ok();
    if (failure.empty()) loaded = co_await load(graph, Qcow2Builder(run.shape).finish());
    if (!loaded) failure = loaded.error().message();
    co_await graph.settle();  // the loader lets go of it
    if (failure.empty()) failure = co_await work(graph, run);
    co_await graph.settle();
    if (failure.empty()) {
      const Result<SparseBytes> bytes = co_await bytes_of(graph);
      const Qcow2Audit audit(bytes ? *bytes : SparseBytes());
      if (!audit.corruptions().empty() || audit.leaks() != 0) failure = audit.describe();
    }
  }
  const Result<void> closed = co_await graph.close();
  if (failure.empty() && !closed) failure = closed.error().message();
  co_return failure;
}

std::string run(std::string storage, const Qcow2Shape& shape) {
  const std::unique_ptr<Runtime> runtime = Runtime::create({.io_loops = kLoops});
  const unsigned steps = std::getenv("ASHLAR_SOAK") != nullptr ? 50'000 : 2'000;
  const Run all{*runtime, std::move(storage), shape, steps};
  return sync_wait(*runtime, everything(all));
}

Qcow2Shape shape_of(uint32_t cluster_bits) {
  Qcow2Shape shape;
  shape.cluster_bits = cluster_bits;
  shape.size = 8_MiB;
  return shape;
}

TEST(Qcow2Threads, ShareAnImageInMemory) {
  for (uint32_t bits : {12u, 16u}) {
    const Qcow2Shape shape = shape_of(bits);
    const uint64_t size = Qcow2Builder(shape).finish().size();
    EXPECT_EQ(run(fmt::format("driver=memory,node-name=f,size={}", size), shape), "") << bits;
  }
}

TEST(Qcow2Threads, ShareAnImageInAFile) {
  TemporaryFolder folder;
  for (uint32_t bits : {12u, 14u}) {
    const Qcow2Shape shape = shape_of(bits);
    const std::string name = std::to_string(bits);
    const std::string path =
        folder.file(name, std::string(Qcow2Builder(shape).finish().size(), '\0'));
    EXPECT_EQ(run("driver=file,node-name=f,filename=" + path, shape), "") << bits;
  }
}

}  // namespace
}  // namespace ashlar
