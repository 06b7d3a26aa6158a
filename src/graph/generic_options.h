// The options every node takes, and what children take over from their parents.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "ashlar/driver.h"
#include "ashlar/options.h"
#include "ashlar/permissions.h"

namespace ashlar {

inline constexpr std::array<std::string_view, 4> kDiscardWords{"ignore", "unmap", "off", "on"};
inline constexpr std::array<std::string_view, 3> kDetectZeroesWords{"off", "on", "unmap"};

/// As they were given; empty where nothing was.
struct GenericOptions {
  std::optional<std::string> driver;
  std::optional<std::string> node_name;
  std::optional<bool> read_only;
  std::optional<bool> auto_read_only;
  std::optional<bool> force_share;
  std::optional<bool> cache_direct;
  std::optional<bool> cache_no_flush;
  std::optional<std::string> discard;
  std::optional<std::string> detect_zeroes;

  static constexpr auto table() {
    using G = GenericOptions;
    return std::array{
        option("driver", &G::driver, "kind of node: a format, filter or storage"),
        option("node-name", &G::node_name, "name of the node; made up when not given"),
        option("read-only", &G::read_only, "refuse writes", "off"),
        option("auto-read-only", &G::auto_read_only, "read-only where writing is not permitted",
               "off"),
        option("force-share", &G::force_share, "let other processes write meanwhile", "off"),
        option("cache.direct", &G::cache_direct, "bypass the page cache of the host", "off"),
        option("cache.no-flush", &G::cache_no_flush, "ignore flushes", "off"),
        choice_option("discard", &G::discard, kDiscardWords, "what becomes of discards", "ignore"),
        choice_option("detect-zeroes", &G::detect_zeroes, kDetectZeroesWords,
                      "store zeroes that are written without space", "off"),
    };
  }

  /// These on top of `defaults`. Errors: kInvalidArgument for what does not go together.
  Result<OpenFlags> flags(OpenFlags defaults) const;
  /// What is given in `newer` replaces what is here.
  void merge(const GenericOptions& newer);
};

/// What a child is opened with where nothing is said about it.
OpenFlags flags_for_child(const OpenFlags& parent, NodeKind parent_kind, ChildRole role);

}  // namespace ashlar
