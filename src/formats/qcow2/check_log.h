// What a check finds: counted, and told to whoever asked for it.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "ashlar/image_info.h"

namespace ashlar::qcow2 {

/// Counts findings in a report and passes them on as they come.
class CheckLog {
 public:
  using Values = std::vector<std::string>;

  CheckLog(const CheckOptions& options, CheckReport& report) : options_(options), report_(report) {}

  CheckReport& report() { return report_; }
  Repair repair() const { return options_.repair; }

  void corruption(std::string_view reason, Values values, std::string message) {
    ++report_.corruptions;
    tell(CheckFinding::Kind::kCorruption, reason, std::move(values), std::move(message));
  }
  void leak(std::string_view reason, Values values, std::string message) {
    ++report_.leaks;
    tell(CheckFinding::Kind::kLeak, reason, std::move(values), std::move(message));
  }
  /// Something that was wrong and is right now.
  void repaired_corruption(std::string_view reason, Values values, std::string message) {
    ++report_.corruptions_fixed;
    tell(CheckFinding::Kind::kRepair, reason, std::move(values), std::move(message));
  }
  void repaired_leak(std::string_view reason, Values values, std::string message) {
    ++report_.leaks_fixed;
    tell(CheckFinding::Kind::kRepair, reason, std::move(values), std::move(message));
  }
  /// Something that could not be found out.
  void internal_error(std::string_view reason, Values values, std::string message) {
    ++report_.check_errors;
    tell(CheckFinding::Kind::kInternalError, reason, std::move(values), std::move(message));
  }
  void note(std::string_view reason, Values values, std::string message) {
    tell(CheckFinding::Kind::kNote, reason, std::move(values), std::move(message));
  }

 private:
  void tell(CheckFinding::Kind kind, std::string_view reason, Values values, std::string message) {
    if (!options_.on_finding) return;
    options_.on_finding({kind, std::move(message), reason, std::move(values)});
  }

  const CheckOptions& options_;
  CheckReport& report_;
};

/// A number as tools print it: bare lower-case hex.
inline std::string hex(uint64_t value) { return fmt::format("{:x}", value); }

}  // namespace ashlar::qcow2
