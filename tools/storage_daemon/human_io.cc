// qemu-io for people: single requests to a backend or a node.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "tools/common/peer_text.h"
#include "tools/common/size_text.h"
#include "tools/io/shell.h"
#include "tools/storage_daemon/human_session.h"

namespace ashlar::tools {
namespace {

using monitor::Monitor;
using Words = std::vector<std::string>;

/// One request as it was typed.
struct Typed {
  std::string verb;
  std::optional<std::byte> pattern;
  bool zeroes = false;
  ByteRange range;
};

constexpr uint64_t kMostBytes = 64_MiB;

Result<Typed> parse_request(const Words& words) {
  Typed typed;
  typed.verb = words[0];
  std::vector<std::string> operands;
  for (size_t at = 1; at < words.size(); ++at) {
    if (words[at] == "-P" && at + 1 < words.size()) {
      const Result<uint64_t> value = parse_number(words[++at]);
      if (!value || *value > 0xff) {
        return fail(ErrorCode::kInvalidArgument, words[at] + " is not a valid pattern byte");
      }
      typed.pattern = static_cast<std::byte>(*value);
    } else if (words[at] == "-z") {
      typed.zeroes = true;
    } else if (words[at] != "-q") {
      operands.push_back(words[at]);
    }
  }
  if (typed.verb == "flush" || typed.verb == "length") return typed;
  if (operands.size() != 2) {
    return fail(ErrorCode::kInvalidArgument, typed.verb + " wants an offset and a length");
  }
  const Result<uint64_t> offset = parse_size(operands[0]);
  const Result<uint64_t> length = parse_size(operands[1]);
  if (!offset || !length || *length > kMostBytes) {
    return fail(ErrorCode::kInvalidArgument,
                "the offset and the length (up to 64 MiB) are sizes such as 64k");
  }
  typed.range = {*offset, *length};
  return typed;
}

std::string finished(std::string_view done, ByteRange range) {
  return fmt::format("{0} {1}/{1} bytes at offset {2}\n", done, range.length, range.offset);
}

std::string failed(std::string_view verb, const Error& error) {
  return fmt::format("{} failed: {}\n", verb, io::failure_text(error));
}

Task<std::string> read(Backend& backend, Typed typed) {
  std::vector<std::byte> bytes(typed.range.length);
  const MutableBuffers into(bytes.data(), bytes.size());
  const Result<void> done = co_await backend.read(typed.range, into);
  if (!done) co_return failed("read", done.error());
  std::string text;
  const bool as_expected = !typed.pattern || std::ranges::all_of(bytes, [&typed](std::byte byte) {
    return byte == *typed.pattern;
  });
  if (!as_expected) {
    text = fmt::format("Pattern verification failed at offset {}, {} bytes\n", typed.range.offset,
                       typed.range.length);
  }
  co_return text + finished("read", typed.range);
}

Task<std::string> write(Backend& backend, Typed typed) {
  Result<void> done = ok();
  if (typed.zeroes) {
    done = co_await backend.write_zeroes(typed.range, ZeroFlags());
  } else {
    constexpr std::byte kUsual{0xcd};
    const std::vector<std::byte> bytes(typed.range.length, typed.pattern.value_or(kUsual));
    const ConstBuffers from(bytes.data(), bytes.size());
    done = co_await backend.write(typed.range, from, WriteFlags());
  }
  if (!done) co_return failed("write", done.error());
  co_return finished("wrote", typed.range);
}

Task<std::string> run_request(Backend& backend, Typed typed) {
  if (typed.verb == "read") co_return co_await read(backend, std::move(typed));
  if (typed.verb == "write") co_return co_await write(backend, std::move(typed));
  if (typed.verb == "discard") {
    const Result<void> done = co_await backend.discard(typed.range);
    if (!done) co_return failed("discard", done.error());
    co_return finished("discard", typed.range);
  }
  if (typed.verb == "flush") {
    const Result<void> done = co_await backend.flush();
    co_return done ? std::string() : failed("flush", done.error());
  }
  if (typed.verb == "length") {
    const Result<uint64_t> size = backend.size();
    co_return size ? human_size(*size) + "\n" : failed("length", size.error());
  }
  co_return fmt::format("command \"{}\" not found\n", typed.verb);
}

/// For a node: a backend of its own. A named one is used as it is, its permissions with it.
Task<std::string> on_node(Monitor& monitor, Node& node, Typed typed) {
  Result<BackendRef> made = monitor.graph().create_backend();
  if (!made) co_return fmt::format("Error: {}\n", monitor.text(made.error()));
  const Permissions used = node.flags().read_only
                               ? Permissions(Permission::kConsistentRead)
                               : Permission::kConsistentRead | Permission::kWrite;
  Result<void> done = (*made)->set_permissions(used, Permissions::all());
  NodeRef medium(&node);
  if (done) done = co_await (*made)->insert_medium(std::move(medium));
  if (!done) co_return fmt::format("Error: {}\n", monitor.text(done.error()));
  std::string text = co_await run_request(**made, std::move(typed));
  (void)co_await (*made)->eject_medium(Backend::Eject::kForce);
  co_return text;
}

/// For a named backend: its permissions are widened for as long as nobody else has it.
Task<std::string> on_backend(Monitor& monitor, BackendRef backend, Typed typed) {
  const bool free = backend->device() == nullptr;
  const Node* root = backend->root();
  if (free && root != nullptr && !root->flags().read_only) {
    const Result<void> done = backend->set_permissions(
        Permission::kConsistentRead | Permission::kWrite, Permissions::all());
    if (!done) co_return fmt::format("Error: {}\n", monitor.text(done.error()));
  }
  std::string text = co_await run_request(*backend, std::move(typed));
  if (free && backend->device() == nullptr) {
    (void)backend->set_permissions(Permission::kConsistentRead, Permissions::all());
  }
  co_return text;
}

Task<std::string> qemu_io(Monitor& monitor, Words words) {
  const Words request = split_words(words[1]);
  if (request.empty()) co_return std::string();
  Result<Typed> typed = parse_request(request);
  if (!typed) co_return fmt::format("Error: {}\n", typed.error().message());
  if (const Monitor::BackendRecord* record = monitor.find_backend(words[0])) {
    co_return co_await on_backend(monitor, record->backend, std::move(*typed));
  }
  Node* node = monitor.graph().find_node(words[0]);
  if (node == nullptr) co_return fmt::format("Error: Device '{}' not found\n", words[0]);
  co_return co_await on_node(monitor, *node, std::move(*typed));
}

constexpr HumanCommand kCommands[] = {
    {"qemu-io",
     "ID \"read|write|discard [-P BYTE] [-z] OFFSET LENGTH|flush|length\"",
     "one request to a backend or node",
     {2, 2},
     qemu_io},
    {"io", "ID \"REQUEST\"", "the same", {2, 2}, qemu_io},
};

}  // namespace

std::span<const HumanCommand> human_io_commands() { return kCommands; }

}  // namespace ashlar::tools
