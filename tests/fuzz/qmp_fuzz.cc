// Fuzzes what monitors read. The oracle is exact: texts end in the same places however the bytes
// come, what was read is read again from what is written of it, and after a control character a
// client is understood again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/builtin.h"
#include "monitor/check.h"
#include "monitor/driver_types.h"
#include "monitor/json.h"
#include "monitor/json_framer.h"

namespace {

using namespace ashlar::monitor;  // NOLINT: the whole file is about it

void require(bool holds) {
  if (!holds) std::abort();
}

JsonFramer::Limits small_limits() {
  JsonFramer::Limits limits;
  limits.text = 256;
  limits.tokens = 64;
  limits.depth = 16;
  return limits;
}

std::vector<JsonFramer::Frame> take_all(JsonFramer& framer) {
  std::vector<JsonFramer::Frame> frames;
  while (auto frame = framer.next()) frames.push_back(std::move(*frame));
  return frames;
}

bool same(const std::vector<JsonFramer::Frame>& left, const std::vector<JsonFramer::Frame>& right) {
  if (left.size() != right.size()) return false;
  for (size_t at = 0; at < left.size(); ++at) {
    if (left[at].text != right[at].text || left[at].problem != right[at].problem) return false;
  }
  return true;
}

/// Reads it again from how it is written.
void check_round_trip(const JsonInput& value) {
  const std::string line = to_line(Json(value));
  JsonFramer framer;
  framer.feed(line);
  framer.feed(" ");
  const auto frames = take_all(framer);
  require(frames.size() == 1 && frames[0].problem.empty());
  const auto again = parse_json(frames[0].text);
  require(again.has_value() && to_line(Json(*again)) == line);
}

const Type& node_options() {
  static const auto* const types = [] {
    auto* made = new Types;  // NOLINT: for as long as the fuzzer runs
    define_socket_types(*made);
    define_driver_types(*made, ashlar::builtin_drivers());
    return made;
  }();
  return const_cast<Types*>(types)->type("BlockdevOptions");
}

/// What passes the checks passes them again: checking changes nothing in typed values.
void check_arguments(JsonInput value) {
  if (!value.is_object()) return;
  const JsonInput before = value;
  const auto problem = check_members(node_options(), value, {}, Source::kJson);
  require(value == before);
  require(check_members(node_options(), value, {}, Source::kJson) == problem);
  if (check_members(node_options(), value, {}, Source::kText)) return;
  require(!check_members(node_options(), value, {}, Source::kJson));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  JsonFramer whole(small_limits());
  whole.feed(input);
  const auto frames = take_all(whole);
  JsonFramer piecewise(small_limits());
  for (const char c : input) piecewise.feed({&c, 1});
  require(same(frames, take_all(piecewise)));

  for (const JsonFramer::Frame& frame : frames) {
    require(frame.text.empty() != frame.problem.empty());
    require(frame.text.size() <= small_limits().text);
    if (frame.text.empty()) continue;
    const auto parsed = parse_json(frame.text);
    if (!parsed) continue;
    check_round_trip(*parsed);
    check_arguments(*parsed);
  }

  whole.feed("\n\x01\n{}");
  const auto rest = take_all(whole);
  require(!rest.empty() && rest.back().text == "{}");
  return 0;
}
