// The plumbing of a device under test.
#include "testing/test_device.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "ashlar/builtin.h"

namespace ashlar {
namespace {

constexpr Permissions kAllUses =
    Permission::kConsistentRead | Permission::kWrite | Permission::kResize;

Task<Result<void>> open_medium(Graph& graph, Backend& backend, OptionDict options,
                               OpenFlags flags) {
  Result<NodeRef> node = co_await graph.open(std::move(options), flags);
  if (!node) co_return fail(node.error());
  const Permissions used = flags.read_only ? Permissions(Permission::kConsistentRead) : kAllUses;
  if (Result<void> taken = backend.set_permissions(used, Permissions::all()); !taken) {
    co_return taken;
  }
  NodeRef medium = std::move(*node);
  Result<void> inserted = co_await backend.insert_medium(std::move(medium));
  if (!inserted) co_await graph.settle();
  co_return inserted;
}

Task<Result<void>> eject_and_settle(Graph& graph, Backend& backend) {
  Result<void> ejected = co_await backend.eject_medium(Backend::Eject::kForce);
  co_await graph.settle();
  co_return ejected;
}

void require(const Result<void>& result, const char* what) {
  if (result) return;
  std::fprintf(stderr, "%s: %s\n", what, result.error().message().c_str());
  std::abort();
}

}  // namespace

TestDevice::TestDevice(const RuntimeOptions& runtime,
                       std::shared_ptr<const ThrottleGroupStore> groups)
    : runtime_(Runtime::create(runtime)) {
  Graph::Options options;
  options.drivers = builtin_drivers();
  options.throttle_groups = std::move(groups);
  graph_ = std::make_unique<Graph>(*runtime_, std::move(options));
  backend_ = *graph_->create_backend();
}

TestDevice::~TestDevice() {
  backend_ = BackendRef();
  require(sync_wait(*runtime_, graph_->close()), "closing the graph of a test");
}

Result<void> TestDevice::open(std::string_view options, OpenFlags flags) {
  Result<OptionDict> parsed = OptionDict::parse_key_value(options);
  if (!parsed) return fail(parsed.error());
  return open(std::move(*parsed), flags);
}

Result<void> TestDevice::open(OptionDict options, OpenFlags flags) {
  return sync_wait(*runtime_, open_medium(*graph_, *backend_, std::move(options), flags));
}

Result<void> TestDevice::close_medium() {
  return sync_wait(*runtime_, eject_and_settle(*graph_, *backend_));
}

Result<std::vector<std::byte>> TestDevice::read(ByteRange range) {
  std::vector<std::byte> bytes(range.length, std::byte{0xa5});
  const MutableBuffers into(bytes.data(), bytes.size());
  Result<void> done = sync_wait(*runtime_, backend_->read(range, into));
  if (!done) return fail(done.error());
  return bytes;
}

Result<void> TestDevice::write(uint64_t offset, std::span<const std::byte> bytes,
                               WriteFlags flags) {
  return sync_wait(*runtime_, backend_->write({offset, bytes.size()}, ConstBuffers(bytes), flags));
}

Result<void> TestDevice::write_pattern(ByteRange range, uint8_t value, WriteFlags flags) {
  const std::vector<std::byte> bytes(range.length, std::byte{value});
  return write(range.offset, bytes, flags);
}

Result<void> TestDevice::write_zeroes(ByteRange range, ZeroFlags flags) {
  return sync_wait(*runtime_, backend_->write_zeroes(range, flags));
}

Result<void> TestDevice::discard(ByteRange range) {
  return sync_wait(*runtime_, backend_->discard(range));
}

Result<void> TestDevice::flush() { return sync_wait(*runtime_, backend_->flush()); }

Result<void> TestDevice::resize(uint64_t size, ResizeFlags flags) {
  return sync_wait(*runtime_, backend_->resize(size, flags));
}

Result<Extent> TestDevice::status(ByteRange range) {
  return sync_wait(*runtime_, backend_->status(range));
}

uint64_t TestDevice::size() const { return backend_->size().value(); }

bool TestDevice::holds(ByteRange range, uint8_t value) {
  const Result<std::vector<std::byte>> bytes = read(range);
  return bytes &&
         std::ranges::all_of(*bytes, [value](std::byte each) { return each == std::byte{value}; });
}

}  // namespace ashlar
