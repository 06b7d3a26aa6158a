// The queue in front of a client's stream.
#include "monitor/line_writer.h"

#include <algorithm>
#include <utility>

namespace ashlar::monitor {

void LineWriter::add(std::string_view text) {
  if (broken_) return;
  if (pending_.size() + text.size() > kLimit) {
    broken_ = true;
    stream_.shut_down();
    wake_flushers();
    return;
  }
  if (pending_.empty()) work_.release();
  pending_ += text;
  added_ += text.size();
}

void LineWriter::wake_flushers() {
  std::erase_if(waiting_, [this](const Waiting& each) {
    if (!broken_ && each.upto > written_) return false;
    each.done->release();
    return true;
  });
}

Task<void> LineWriter::flush() {
  if (broken_ || written_ == added_) co_return;
  Semaphore done(0);
  waiting_.push_back({added_, &done});
  co_await done.acquire();
}

Task<void> LineWriter::run() {
  while (true) {
    co_await work_.acquire();
    const std::string text = std::exchange(pending_, {});
    if (text.empty() && finishing_) break;
    if (text.empty() || broken_) continue;
    const ConstBuffers from(reinterpret_cast<const std::byte*>(text.data()), text.size());
    const Result<void> written = co_await stream_.write_all(from);
    written_ += text.size();
    if (!written) broken_ = true;
    wake_flushers();
  }
}

void LineWriter::finish() {
  finishing_ = true;
  work_.release();
}

}  // namespace ashlar::monitor
