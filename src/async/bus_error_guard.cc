// The handler of bus errors: finds the guarded mapping, puts empty memory in its place.
#include "async/bus_error_guard.h"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>

namespace ashlar {

struct BusErrorGuard::Slot {
  std::atomic<bool> taken{false};
  std::atomic<bool> broken{false};
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};  // 0: guards nothing (yet, or any more)
};

/// All that is process-wide: a handler is given nothing but the address.
struct BusErrorGuard::Handler {
  static constinit std::array<Slot, kMost> slots;
  static constinit std::mutex guard;
  static constinit size_t guards;
  static struct sigaction before;

  static void handle(int signal, siginfo_t* info, void* context);
  static bool replace_mapping(uintptr_t address);
  static void install();
  static void uninstall();
};

constinit std::array<BusErrorGuard::Slot, BusErrorGuard::kMost> BusErrorGuard::Handler::slots{};
constinit std::mutex BusErrorGuard::Handler::guard;
constinit size_t BusErrorGuard::Handler::guards = 0;
struct sigaction BusErrorGuard::Handler::before = {};

bool BusErrorGuard::Handler::replace_mapping(uintptr_t address) {
  for (Slot& slot : slots) {
    const uintptr_t begin = slot.begin.load();
    const uintptr_t end = slot.end.load();
    if (end == 0 || address < begin || address >= end) continue;
    // A plain system call, safe in a handler. Addresses are numbers here: that is what faulted.
    void* pages = reinterpret_cast<void*>(begin);  // NOLINT(performance-no-int-to-ptr)
    const void* now = mmap(pages, end - begin, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (now == MAP_FAILED) return false;
    slot.broken.store(true);
    return true;
  }
  return false;
}

void BusErrorGuard::Handler::handle(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const bool replaced = replace_mapping(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved_errno;
  if (replaced) return;
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
    // Returning repeats the fault, which then ends the process as it would have without us.
    sigaction(SIGBUS, &before, nullptr);
  } else {
    before.sa_handler(signal);
  }
}

void BusErrorGuard::Handler::install() {
  const std::lock_guard lock(guard);
  if (guards++ != 0) return;
  sigaction(SIGBUS, nullptr, &before);
  struct sigaction ours = {};
  ours.sa_sigaction = handle;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  sigaction(SIGBUS, &ours, nullptr);
}

void BusErrorGuard::Handler::uninstall() {
  const std::lock_guard lock(guard);
  if (--guards != 0) return;
  struct sigaction now = {};
  sigaction(SIGBUS, nullptr, &now);
  // Somebody may have put theirs on top of ours.
  const bool ours = (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == handle;
  if (ours) sigaction(SIGBUS, &before, nullptr);
}

std::optional<BusErrorGuard> BusErrorGuard::over(std::span<std::byte> pages) noexcept {
  for (Slot& slot : Handler::slots) {
    if (slot.taken.exchange(true)) continue;
    Handler::install();
    slot.broken.store(false);
    slot.begin.store(reinterpret_cast<uintptr_t>(pages.data()));
    slot.end.store(reinterpret_cast<uintptr_t>(pages.data()) + pages.size());
    return BusErrorGuard(slot);
  }
  return std::nullopt;
}

BusErrorGuard::~BusErrorGuard() {
  if (slot_ == nullptr) return;
  slot_->end.store(0);
  slot_->taken.store(false);
  Handler::uninstall();
}

bool BusErrorGuard::broken() const noexcept {
  return slot_ != nullptr && slot_->broken.load(std::memory_order_acquire);
}

}  // namespace ashlar
