// A thread that waits for signals, so that nothing runs inside a signal handler.
#include "tools/common/signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <utility>

namespace ashlar::tools {

SignalWatcher::SignalWatcher(std::function<void()> on_report, std::function<void()> on_stop)
    : on_report_(std::move(on_report)), on_stop_(std::move(on_stop)) {
  sigset_t watched;
  sigemptyset(&watched);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    // What the caller chose to ignore (nohup) stays ignored.
    struct sigaction action{};
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) {
      sigaddset(&watched, signal);
    }
  }
  pthread_sigmask(SIG_BLOCK, &watched, &before_);
  signals_ = signalfd(-1, &watched, SFD_CLOEXEC);
  done_ = eventfd(0, EFD_CLOEXEC);
  if (signals_ < 0 || done_ < 0) {  // out of descriptors: signals end the process, as without us
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    return;
  }
  thread_ = std::thread([this] { watch(); });
}

SignalWatcher::~SignalWatcher() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    (void)!::write(done_, &one, sizeof one);
    thread_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  if (signals_ >= 0) ::close(signals_);
  if (done_ >= 0) ::close(done_);
}

void SignalWatcher::watch() {
  std::array<pollfd, 2> ready{pollfd{signals_, POLLIN, 0}, pollfd{done_, POLLIN, 0}};
  for (;;) {
    if (::poll(ready.data(), ready.size(), -1) < 0) continue;
    if (ready[1].revents != 0) return;
    signalfd_siginfo received;
    if (::read(signals_, &received, sizeof received) != sizeof received) continue;
    if (received.ssi_signo == SIGUSR1) {
      if (on_report_) on_report_();
      continue;
    }
    if (stopping()) ::_exit(exit_status());
    stop_signal_.store(static_cast<int>(received.ssi_signo), std::memory_order_relaxed);
    if (on_stop_) on_stop_();
  }
}

}  // namespace ashlar::tools
