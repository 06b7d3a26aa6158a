// Handing a connection to the kernel, and taking it back.
#include "tools/nbd/kernel_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/nbd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "async/on_loop.h"
#include "async/socket_stream.h"
#include "protocols/nbd_handshake.h"

namespace ashlar::tools::nbd {
namespace {

using namespace ashlar::nbd;  // NOLINT(google-build-using-namespace): this file speaks the protocol
using ashlar::nbd::Option;    // not the one of option tables

constexpr unsigned long kBlockSize = 512;

Error system_error(std::string_view doing) {
  return {ErrorCode::kIo, fmt::format("{}: {}", doing, std::strerror(errno))};
}

bool write_all(int socket, const Bytes& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t sent = ::send(socket, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    done += static_cast<size_t>(sent);
  }
  return true;
}

template <size_t size>
bool read_all(int socket, std::array<std::byte, size>& into) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::recv(socket, into.data() + done, size - done, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return true;
}

/// The oldest way into an export: the kernel knows no newer replies.
Result<ExportSummary> enter_export(int socket, std::string_view name) {
  const auto broken = [] {
    return fail(ErrorCode::kIo, "Failed to negotiate with our own server");
  };
  std::array<std::byte, kGreetingSize + kHandshakeFlagsSize> greeting;
  if (!read_all(socket, greeting)) return broken();
  constexpr uint32_t kFlags = client_flag::kFixedNewStyle | client_flag::kNoZeroes;
  const Bytes name_bytes(reinterpret_cast<const std::byte*>(name.data()),
                         reinterpret_cast<const std::byte*>(name.data()) + name.size());
  if (!write_all(socket, encode_client_flags(kFlags)) ||
      !write_all(socket, encode_option(Option::kExportName, name_bytes))) {
    return broken();
  }
  std::array<std::byte, kExportNameReplySize> reply;
  if (!read_all(socket, reply)) return broken();
  return decode_export_name_reply(reply);
}

/// Runs on a worker: blocks.
Result<void> hand_over(int device, int socket, std::string_view name) {
  const Result<ExportSummary> summary = enter_export(socket, name);
  if (!summary) return fail(summary.error());
  if (::ioctl(device, NBD_SET_SOCK, static_cast<unsigned long>(socket)) < 0) {
    return fail(system_error("Failed to set NBD socket"));
  }
  const auto flags = static_cast<unsigned long>(summary->flags);
  const bool good = ::ioctl(device, NBD_SET_BLKSIZE, kBlockSize) >= 0 &&
                    ::ioctl(device, NBD_SET_SIZE_BLOCKS, summary->size / kBlockSize) >= 0 &&
                    (::ioctl(device, NBD_SET_FLAGS, flags) >= 0 || errno == ENOTTY);
  if (good) return {};
  const Error error = system_error("Failed to set up the NBD device");
  ::ioctl(device, NBD_CLEAR_SOCK);
  return fail(error);
}

}  // namespace

Task<Result<KernelDevice>> KernelDevice::attach(const Settings& settings, NbdServer& server) {
  OwnedDescriptor device(::open(settings.device.c_str(), O_RDWR | O_CLOEXEC));
  if (device.get() < 0) co_return fail(system_error("Failed to open " + settings.device));
  std::array<int, 2> ends;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    co_return fail(system_error("Failed to create a socket pair"));
  }
  OwnedDescriptor ours(ends[0]);
  OwnedDescriptor theirs(ends[1]);
  server.serve(make_socket_stream(std::move(ours), SocketAddress::unix_socket(settings.device)));
  auto work = [&device, &theirs, &settings] {
    return hand_over(device.get(), theirs.get(), settings.export_name);
  };
  OnWorker<decltype(work)> working(work);
  const Result<void> done = co_await working;
  if (!done) co_return fail(done.error());
  co_return KernelDevice(std::move(device), std::move(theirs));
}

KernelDevice::KernelDevice(OwnedDescriptor device, OwnedDescriptor socket)
    : serving_([device = std::move(device), socket = std::move(socket)] {
        ::ioctl(device.get(), NBD_DO_IT);
        ::ioctl(device.get(), NBD_CLEAR_QUE);
        ::ioctl(device.get(), NBD_CLEAR_SOCK);
      }) {}

KernelDevice::~KernelDevice() {
  if (serving_.joinable()) serving_.join();
}

int KernelDevice::detach(const Program& program, const std::string& device) {
  const OwnedDescriptor opened(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (opened.get() < 0) {
    program.error(fmt::format("Cannot open {}: {}", device, std::strerror(errno)));
    return kFailure;
  }
  ::ioctl(opened.get(), NBD_CLEAR_QUE);
  ::ioctl(opened.get(), NBD_DISCONNECT);
  ::ioctl(opened.get(), NBD_CLEAR_SOCK);
  program.note(device + " disconnected");
  return kSuccess;
}

}  // namespace ashlar::tools::nbd
