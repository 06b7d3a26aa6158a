// Reading of LISTEN_FDS and LISTEN_PID.
#include "tools/nbd/activation.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace ashlar::tools::nbd {
namespace {

constexpr int kFirstDescriptor = 3;

std::optional<int> number_in(const char* name) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before any thread
  if (text == nullptr) return std::nullopt;
  const std::string_view digits(text);
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

Result<std::optional<SocketAddress>> activation_socket() {
  const std::optional<int> process = number_in("LISTEN_PID");
  const std::optional<int> count = number_in("LISTEN_FDS");
  if (!process || *process != getpid() || !count || *count <= 0) return std::nullopt;
  unsetenv("LISTEN_PID");  // NOLINT(concurrency-mt-unsafe): before any thread
  unsetenv("LISTEN_FDS");  // NOLINT(concurrency-mt-unsafe)
  if (*count > 1) {
    return fail(ErrorCode::kUnsupported,
                "qemu-nbd does not support socket activation with more than 1 socket");
  }
  struct stat facts = {};
  if (fstat(kFirstDescriptor, &facts) != 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("Socket activation failed: invalid file descriptor fd = {}: {}",
                            kFirstDescriptor, std::strerror(errno)));
  }
  SocketAddress address;
  address.kind = SocketAddress::Kind::kFd;
  address.fd = std::to_string(kFirstDescriptor);
  return address;
}

}  // namespace ashlar::tools::nbd
