// What the cases of the conformance suite work with: a device, and the bytes it must hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "testing/conformance.h"
#include "testing/seeded_random.h"
#include "testing/test_device.h"

namespace ashlar::conformance {

/// Neither a whole number of clusters nor of pages.
inline constexpr uint64_t kSize = 2_MiB + 5 * 512;

/// A device that has just been made, a model of it, and what was found to be wrong.
class Bench {
 public:
  Bench(const ConformanceSubject& subject, std::string name);

  const ConformanceSubject& subject() const { return subject_; }
  bool keeps_data() const { return subject_.keeps != ConformanceSubject::Keeps::kNothing; }
  TestDevice& device() { return device_; }
  SeededRandom& random() { return random_; }
  std::vector<std::byte>& model() { return model_; }
  uint64_t size() const { return model_.size(); }
  std::string failures() const { return failures_; }
  bool failed() const { return !failures_.empty(); }

  void report(const std::string& what);
  /// Reports `what` with the error, if there is one.
  void expect_success(const Result<void>& result, const std::string& what);
  void expect_error(const Result<void>& result, ErrorCode code, const std::string& what);

  /// Random bytes into device and model.
  void write(ByteRange range, WriteFlags flags = {});
  void write_zeroes(ByteRange range, ZeroFlags flags = {});
  /// Reads and compares with the model.
  void check(ByteRange range);
  void check_all();
  /// A range inside of the device, of up to `longest` bytes; often aligned, often not.
  ByteRange random_range(uint64_t longest);
  std::vector<std::byte> random_bytes(uint64_t length);

  /// Opens the same medium again.
  void reopen(OpenFlags flags);

 private:
  const ConformanceSubject& subject_;
  std::string name_;
  OptionDict options_;
  TestDevice device_;
  SeededRandom random_{1};
  std::vector<std::byte> model_;
  std::string failures_;
};

/// "4096 bytes at 0x1000"
std::string describe(ByteRange range);

// The cases that involve more than one loop; see conformance_loops.cc.
void from_several_loops(Bench& bench);
void neighbours_at_once(Bench& bench);

}  // namespace ashlar::conformance
