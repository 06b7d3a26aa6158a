// The receiving side of a loop.
#include "exports/fuse/channel.h"

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <cerrno>
#include <cstring>

namespace ashlar::fuse {
namespace {

// The two headers of a write, as the kernel has them since protocol 7.9.
constexpr size_t kWriteHeaders = 80;
constexpr short kReadable = 1;  // POLLIN
/// Requests received in a row before others on this loop have their turn.
constexpr unsigned kInARow = 32;

}  // namespace

Task<void> Channel::start() {
  receiving_.spawn(receive());
  co_return;
}

Task<void> Channel::stop() {
  stopping_ = true;
  if (polling_) {
    IoOperation cancel = IoOperation::cancel(poll_);
    co_await cancel;
  }
  co_await receiving_.join();
  co_await requests_.join();
}

Task<void> Channel::wait_for_request() {
  poll_ = IoOperation::poll(fd(), kReadable);
  polling_ = true;
  co_await poll_;  // whatever it says, receiving says it better
  polling_ = false;
}

Task<void> Channel::receive() {
  unsigned in_a_row = 0;
  while (!stopping_) {
    if (!received_) received_ = co_await blocks_.take(kMaxData);
    co_await places_.acquire();  // is there room for one more?
    places_.release();
    if (stopping_) break;
    const int64_t length = device_.receive(received_.receive_area(kWriteHeaders));
    if (length == -EAGAIN) {
      in_a_row = 0;
      co_await wait_for_request();
    } else if (length > 0) {
      process(static_cast<size_t>(length));
      if (++in_a_row % kInARow == 0) co_await yield();
    } else if (length != -EINTR && length != -ENOENT) {  // those requests were taken back
      break;
    }
  }
  received_ = Block();
}

void Channel::process(size_t length) {
  fuse_buf request{};
  request.size = length;
  request.mem = received_.receive_area(kWriteHeaders).data();
  fuse_session_process_buf(session_, &request);
}

void Channel::serve(Task<void> answer) { requests_.spawn(run(*this, std::move(answer))); }

Task<void> Channel::run(Channel& channel, Task<void> answer) {
  co_await channel.places_.acquire();  // there is one: receive() has looked
  co_await answer;
  channel.places_.release();
}

Block Channel::keep_data(std::span<const std::byte> data) {
  if (!BlockPool::is_small(data.size())) {
    assert(data.data() == received_.data());
    return std::move(received_);
  }
  Block copy = blocks_.take_small(data.size());
  std::memcpy(copy.data(), data.data(), data.size());
  return copy;
}

}  // namespace ashlar::fuse
