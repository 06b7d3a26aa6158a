// Progress lines.
#include "tools/common/progress.h"

#include <fmt/format.h>

namespace ashlar::tools {
namespace {

constexpr double kStep = 1;

std::string progress_text(double percent) { return fmt::format("    ({:.2f}/100%)", percent); }

}  // namespace

Progress::Progress(Program& program, Mode mode)
    : program_(program), mode_(mode), signals_([this] {
        if (mode_ == Mode::kOnSignal) program_.note(progress_text(percent_));
      }) {
  if (mode_ == Mode::kShown) show(0);
}

Progress::~Progress() {
  if (mode_ != Mode::kShown) return;
  program_.out().write("\n");
  program_.out().flush();
}

void Progress::update(uint64_t done, uint64_t total) {
  const double percent =
      total == 0 ? 100 : 100.0 * static_cast<double>(done) / static_cast<double>(total);
  percent_ = percent;
  if (mode_ == Mode::kShown && percent >= shown_ + kStep) show(percent);
}

void Progress::finish() {
  percent_ = 100;
  if (mode_ == Mode::kShown && shown_ < 100) show(100);
}

void Progress::show(double percent) {
  shown_ = percent;
  program_.out().write(progress_text(percent) + "\r");
  program_.out().flush();
}

}  // namespace ashlar::tools
