// What the peer's tools say, by the library's reasons. Grouped by where the reasons come from.
#include "tools/common/peer_words.h"

#include <array>

namespace ashlar::tools {
namespace {

constexpr std::string_view kSizeExpected =
    "Parameter '{0}' expects a non-negative number below 2^64\n"
    "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
    "and exabytes, respectively.";

constexpr PeerWords kWords[] = {
    // Options.
    {"option-switch", "Parameter '{0}' expects 'on' or 'off'"},
    {"option-size", kSizeExpected},
    {"option-number", "Parameter '{0}' expects a number"},
    {"option-range", "Value '{1}' is out of range for parameter '{0}'"},
    {"option-choice", "Parameter '{0}' does not accept value '{1}'"},
    {"json-syntax", "JSON parse error, invalid text at position {0}"},
};

}  // namespace

std::span<const PeerWords> peer_words_table() { return kWords; }

}  // namespace ashlar::tools
