// Memory for coroutine frames: free lists per thread and size class.
#include <array>
#include <cstddef>
#include <new>

#include "ashlar/task.h"

namespace ashlar {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kRecycle = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kRecycle = false;  // let the sanitizer see every use after the end
#else
constexpr bool kRecycle = true;
#endif
#else
constexpr bool kRecycle = true;
#endif

constexpr size_t kClassBytes = 64;
constexpr size_t kLargestRecycled = 2048;
constexpr size_t kClasses = kLargestRecycled / kClassBytes;
constexpr size_t kBytesKeptPerClass = 64 * 1024;

struct FreeFrame {
  FreeFrame* next;
};

/// The free frames of one thread. Frames may come from other threads: whoever releases keeps.
class FrameLists {
 public:
  FrameLists() = default;
  ~FrameLists() {
    for (List& list : lists_) {
      while (list.head != nullptr) ::operator delete(pop(list));
    }
    gone_ = true;
  }

  void* allocate(size_t size_class) {
    List& list = lists_[size_class];
    if (list.head != nullptr) [[likely]]
      return pop(list);
    return ::operator new((size_class + 1) * kClassBytes);
  }

  void release(void* frame, size_t size_class) noexcept {
    List& list = lists_[size_class];
    if (gone_ || list.count >= kBytesKeptPerClass / ((size_class + 1) * kClassBytes)) {
      ::operator delete(frame);
      return;
    }
    auto* free = new (frame) FreeFrame{list.head};
    list.head = free;
    ++list.count;
  }

 private:
  struct List {
    FreeFrame* head = nullptr;
    size_t count = 0;
  };

  static void* pop(List& list) noexcept {
    FreeFrame* frame = list.head;
    list.head = frame->next;
    --list.count;
    return frame;
  }

  std::array<List, kClasses> lists_;
  bool gone_ = false;  // the thread is ending; objects with static lifetime may still release
};

thread_local FrameLists thread_frames;

}  // namespace

void* allocate_frame(size_t size) {
  if (!kRecycle || size == 0 || size > kLargestRecycled) return ::operator new(size);
  return thread_frames.allocate((size - 1) / kClassBytes);
}

void release_frame(void* frame, size_t size) noexcept {
  if (!kRecycle || size == 0 || size > kLargestRecycled) {
    ::operator delete(frame);
    return;
  }
  thread_frames.release(frame, (size - 1) / kClassBytes);
}

}  // namespace ashlar
