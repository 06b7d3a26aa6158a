// The options of an opened qcow2 image, in one table.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "ashlar/options.h"

namespace ashlar::qcow2 {

inline constexpr std::array<std::string_view, 4> kOverlapChecks{"none", "constant", "cached",
                                                                "all"};

struct OpenOptions {
  std::optional<bool> lazy_refcounts;
  std::optional<bool> pass_discard_request;
  bool pass_discard_snapshot = true;
  bool pass_discard_other = false;
  bool discard_no_unref = false;
  std::string overlap_check = "cached";
  std::optional<uint64_t> cache_size;
  std::optional<uint64_t> l2_cache_size;
  std::optional<uint64_t> l2_cache_entry_size;
  std::optional<uint64_t> refcount_cache_size;
  std::optional<uint64_t> cache_clean_interval;
  std::optional<std::string> snapshot_id;
  std::optional<std::string> snapshot_name;

  static constexpr auto table() {
    return std::array{
        option("lazy-refcounts", &OpenOptions::lazy_refcounts, "postpone refcount updates"),
        option("pass-discard-request", &OpenOptions::pass_discard_request,
               "give clusters that guests discard back to the file system", "discard=unmap"),
        option("pass-discard-snapshot", &OpenOptions::pass_discard_snapshot,
               "give clusters of deleted snapshots back to the file system", "on"),
        option("pass-discard-other", &OpenOptions::pass_discard_other,
               "give clusters that are freed otherwise back to the file system", "off"),
        option("discard-no-unref", &OpenOptions::discard_no_unref,
               "keep the clusters that guests discard reserved", "off"),
        choice_option("overlap-check", &OpenOptions::overlap_check, kOverlapChecks,
                      "accepted for compatibility: metadata is always guarded", "cached"),
        option("cache-size", &OpenOptions::cache_size, "memory for L2 tables and refcounts"),
        option("l2-cache-size", &OpenOptions::l2_cache_size, "memory for L2 tables", "32M"),
        option("l2-cache-entry-size", &OpenOptions::l2_cache_entry_size,
               "accepted for compatibility: parts of tables are 4 KiB"),
        option("refcount-cache-size", &OpenOptions::refcount_cache_size, "memory for refcounts",
               "4M"),
        number_option("cache-clean-interval", &OpenOptions::cache_clean_interval,
                      "accepted for compatibility: memory is bounded by the sizes above", "600"),
        option("snapshot-id", &OpenOptions::snapshot_id,
               "show the internal snapshot with this ID, read-only"),
        option("snapshot-name", &OpenOptions::snapshot_name,
               "show the first internal snapshot with this name, read-only"),
    };
  }
};

}  // namespace ashlar::qcow2
