// Starting and ending an export in a test.
#include "testing/exported_disk.h"

#include <cstdio>
#include <cstdlib>

#include "base/endian.h"
#include "exports/vhost_user_blk/vhost_user_blk.h"

namespace ashlar::vhost {
namespace {

template <typename T>
T require(Result<T> result, const char* what) {
  if (!result) {
    std::fprintf(stderr, "%s: %s\n", what, result.error().message().c_str());
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

constexpr int kMostLooks = 100'000;
constexpr uint64_t kLookNs = 50'000;

/// Ends a test that would wait for ever.
Task<void> wait_until_idle(VhostUserBlkExport& running, size_t clients) {
  for (int looks = 0; running.clients_served() < clients; ++looks) {
    if (looks == kMostLooks) {
      std::fprintf(stderr, "the export still serves client %zu\n", clients);
      std::abort();
    }
    co_await sleep_for(kLookNs);
  }
}

}  // namespace

ExportedDisk::ExportedDisk() : ExportedDisk(Options()) {}

ExportedDisk::ExportedDisk(Options options) {
  RuntimeOptions runtime;
  runtime.io_loops = options.io_loops;
  runtime.files = options.files;
  device_ = std::make_unique<TestDevice>(runtime);
  if (!options.medium.empty()) require(device_->open(options.medium), "open the medium");
  ExportSetup setup;
  setup.id = "export";
  setup.backend = BackendRef(&device_->backend());
  setup.writable = options.writable;
  setup.write_through = options.write_through;
  for (unsigned index = 0; index < options.io_loops; ++index) {
    setup.loops.push_back(&device_->runtime().loop(index + 1));
  }
  if (setup.loops.empty()) setup.loops.push_back(&device_->runtime().control_loop());
  setup.options = require(OptionDict::parse_key_value(options.options), "read options");
  setup.options.set("addr.type", std::string("unix"));
  setup.options.set("addr.path", socket());
  export_ = require(run(vhost_user_blk_export.start(std::move(setup))), "start the export");
}

ExportedDisk::~ExportedDisk() {
  for (const auto& frontend : frontends_) run(frontend->close());
  close();
}

void ExportedDisk::close() {
  if (export_ == nullptr) return;
  run(export_->close());
  export_.reset();
}

Frontend& ExportedDisk::frontend(Frontend::Options options) {
  frontends_.push_back(std::make_unique<Frontend>(options));
  return *frontends_.back();
}

Frontend& ExportedDisk::connect(Frontend::Options options) {
  Frontend& made = frontend(options);
  require(run(made.open(socket())), "open a frontend");
  return made;
}

Frontend::Completion ExportedDisk::request(Frontend& from, uint16_t queue,
                                           const Frontend::Demand& demand) {
  return require(run(from.request(queue, demand)), "a request of the guest");
}

void ExportedDisk::leave(Frontend& from) {
  run(from.close());
  run(wait_until_idle(running(), ++clients_));
}

std::string ExportedDisk::end_of(Frontend& from) {
  run(wait_until_idle(running(), ++clients_));
  run(from.close());
  const std::optional<Error>& end = running().last_end();
  return end ? std::string(end->reason()) : std::string();
}

Bytes range_bytes(uint64_t sector, uint32_t sectors, uint32_t flags) {
  Bytes bytes(16);
  store_le<uint64_t>(bytes.data(), sector);
  store_le<uint32_t>(bytes.data() + 8, sectors);
  store_le<uint32_t>(bytes.data() + 12, flags);
  return bytes;
}

}  // namespace ashlar::vhost
