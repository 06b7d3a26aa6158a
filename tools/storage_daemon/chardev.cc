// The kinds of channels.
#include "tools/storage_daemon/chardev.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "async/pipe_stream.h"
#include "async/sync.h"

namespace ashlar::tools {
namespace {

std::unexpected<Error> refuse(std::string text) {
  return fail(Error(ErrorCode::kInvalidArgument, std::move(text)).because("chardev"));
}

/// As lists of channels show it.
std::string shown(const SocketAddress& address) {
  using Kind = SocketAddress::Kind;
  const std::string text = address.describe();
  if (address.kind == Kind::kUnix) return "unix:" + text;
  return address.kind == Kind::kInet ? "tcp:" + text : text;
}

/// A channel that is there from the start, once.
class SingleChardev final : public Chardev {
 public:
  SingleChardev(std::string id, std::string filename, std::unique_ptr<Stream> stream)
      : Chardev(std::move(id)), filename_(std::move(filename)), stream_(std::move(stream)) {}
  std::string filename() const override { return filename_; }
  Task<Result<std::unique_ptr<Stream>>> next() override {
    if (stream_ == nullptr) co_return fail(ErrorCode::kClosed, "the channel was used up");
    co_return std::move(stream_);
  }
  void close() noexcept override { stream_.reset(); }

 private:
  std::string filename_;
  std::unique_ptr<Stream> stream_;
};

class ListeningChardev final : public Chardev {
 public:
  ListeningChardev(std::string id, std::unique_ptr<Listener> listener)
      : Chardev(std::move(id)), listener_(std::move(listener)) {}
  std::string filename() const override {
    return fmt::format("disconnected:{},server=on", shown(listener_->address()));
  }
  Task<Result<void>> wait_for_first() {
    Result<std::unique_ptr<Stream>> stream = co_await listener_->accept();
    if (!stream) co_return fail(stream.error());
    first_ = std::move(*stream);
    co_return ok();
  }
  Task<Result<std::unique_ptr<Stream>>> next() override {
    if (first_ != nullptr) co_return std::move(first_);
    co_return co_await listener_->accept();
  }
  void close() noexcept override { listener_->close(); }

 private:
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Stream> first_;
};

/// Connects, again after a pause where that is asked for.
class ConnectingChardev final : public Chardev {
 public:
  struct Setup {
    SocketAddress address;
    uint64_t pause_ns = 0;  // 0: once only
  };
  ConnectingChardev(std::string id, Setup setup, std::unique_ptr<Stream> first)
      : Chardev(std::move(id)), setup_(std::move(setup)), first_(std::move(first)) {}
  std::string filename() const override { return shown(setup_.address); }
  Task<Result<std::unique_ptr<Stream>>> next() override {
    if (first_ != nullptr) co_return std::move(first_);
    while (setup_.pause_ns != 0 && !closed_) {
      // In short steps, so that the end of the program need not wait for a long pause.
      constexpr uint64_t kStepNs = 100'000'000;
      for (uint64_t left = setup_.pause_ns; left != 0 && !closed_;) {
        const uint64_t step = std::min(left, kStepNs);
        co_await sleep_for(step);
        left -= step;
      }
      if (closed_) break;
      Result<std::unique_ptr<Stream>> stream = co_await connect_stream(setup_.address);
      if (stream) co_return stream;
    }
    co_return fail(ErrorCode::kClosed, "the other side has gone");
  }
  void close() noexcept override { closed_ = true; }

 private:
  Setup setup_;
  std::unique_ptr<Stream> first_;
  bool closed_ = false;
};

struct ChardevOptions {
  std::string id;
  OptionDict rest;
};

using Made = Result<std::unique_ptr<Chardev>>;

Result<bool> take_switch(OptionDict& options, std::string_view name, bool otherwise) {
  Result<std::optional<bool>> given = options.take_switch(name);
  if (!given) return refuse(fmt::format("Parameter '{}' expects 'on' or 'off'", name));
  return given->value_or(otherwise);
}

/// Socket channels have their address among their other options.
Result<SocketAddress> take_address(OptionDict& options) {
  OptionDict address;
  const auto move = [&](std::string_view name) {
    if (std::optional<std::string> text = options.take_text(name)) address.set(name, *text);
  };
  if (options.find("path") != nullptr) {
    address.set("type", std::string("unix"));
    for (const char* name : {"path", "abstract", "tight"}) move(name);
  } else if (options.find("host") != nullptr || options.find("port") != nullptr) {
    address.set("type", std::string("inet"));
    if (options.find("host") == nullptr) address.set("host", std::string());
    for (const char* name : {"host", "port", "to", "ipv4", "ipv6", "keep-alive"}) move(name);
  } else {
    address.set("type", std::string("fd"));
    address.set("str", options.take_text("fd").value_or(""));
    if (address.text("str")->empty()) return refuse("Unable to parse FD number ");
  }
  return SocketAddress::take(address);
}

Result<uint64_t> take_pause(OptionDict& options) {
  constexpr uint64_t kMillisecondNs = 1'000'000;
  uint64_t pause = 0;
  for (const auto& [name, unit] :
       {std::pair{"reconnect", 1000 * kMillisecondNs}, std::pair{"reconnect-ms", kMillisecondNs}}) {
    const std::optional<std::string> text = options.take_text(name);
    if (!text) continue;
    Result<uint64_t> number = parse_number(*text);
    constexpr uint64_t kMost = 1 << 20;
    if (!number || *number > kMost) {
      return refuse(fmt::format("Parameter '{}' expects a number", name));
    }
    pause = *number * unit;
  }
  return pause;
}

Task<Made> make_listening(std::string id, SocketAddress address, bool wait) {
  Result<std::unique_ptr<Listener>> listener = co_await Listener::open(std::move(address));
  if (!listener) co_return fail(listener.error());
  auto chardev = std::make_unique<ListeningChardev>(std::move(id), std::move(*listener));
  if (wait) {
    Result<void> first = co_await chardev->wait_for_first();
    if (!first) co_return fail(first.error());
  }
  co_return std::move(chardev);
}

Task<Made> make_socket(ChardevOptions& options) {
  // The short forms of old: "server,nowait".
  if (options.rest.take_text("nowait")) options.rest.set("wait", std::string("off"));
  (void)options.rest.take_text("nodelay");
  const Result<bool> server = take_switch(options.rest, "server", false);
  if (!server) co_return fail(server.error());
  const Result<bool> wait = take_switch(options.rest, "wait", *server);
  if (!wait) co_return fail(wait.error());
  Result<uint64_t> pause = take_pause(options.rest);
  if (!pause) co_return fail(pause.error());
  Result<SocketAddress> address = take_address(options.rest);
  if (!address) co_return fail(address.error());
  if (!options.rest.empty()) co_return std::unique_ptr<Chardev>();  // told by the caller
  if (*server) co_return co_await make_listening(options.id, std::move(*address), *wait);
  Result<std::unique_ptr<Stream>> first = co_await connect_stream(*address);
  if (!first && *pause == 0) co_return fail(first.error());
  ConnectingChardev::Setup setup = {std::move(*address), *pause};
  co_return std::make_unique<ConnectingChardev>(options.id, std::move(setup),
                                                first ? std::move(*first) : nullptr);
}

Made single(const ChardevOptions& options, std::string filename, PipeEnds ends) {
  std::unique_ptr<Stream> stream = make_pipe_stream(std::move(ends), filename);
  return std::make_unique<SingleChardev>(options.id, std::move(filename), std::move(stream));
}

Result<OwnedDescriptor> open_file(const std::string& path, int flags) {
  constexpr mode_t kMode = 0666;
  OwnedDescriptor file(::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, kMode));
  if (file.get() >= 0) return file;
  return refuse(fmt::format("Could not open '{}': {}", path, std::strerror(errno)));
}

Made make_pipe(ChardevOptions& options) {
  const std::optional<std::string> path = options.rest.take_text("path");
  if (!path) return refuse("chardev: pipe: no device path given");
  // Read and write, so that neither waits for the other side to open it.
  Result<OwnedDescriptor> input = open_file(*path + ".in", O_RDWR);
  Result<OwnedDescriptor> output = open_file(*path + ".out", O_RDWR);
  if (!input || !output) {
    input = open_file(*path, O_RDWR);
    if (!input) return fail(input.error());
    output = open_file(*path, O_RDWR);
    if (!output) return fail(output.error());
  }
  return single(options, "pipe", {std::move(*input), std::move(*output)});
}

Result<OwnedDescriptor> copy_of(int descriptor) {
  OwnedDescriptor copy(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (copy.get() >= 0) return copy;
  return refuse(fmt::format("Could not copy a descriptor: {}", std::strerror(errno)));
}

Made make_pty(ChardevOptions& options) {
  OwnedDescriptor master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  std::string name(64, '\0');
  const bool made = master.get() >= 0 && ::grantpt(master.get()) == 0 &&
                    ::unlockpt(master.get()) == 0 &&
                    ::ptsname_r(master.get(), name.data(), name.size()) == 0;
  if (!made) return refuse(fmt::format("Failed to create PTY: {}", std::strerror(errno)));
  name.resize(std::strlen(name.c_str()));
  Result<OwnedDescriptor> other = copy_of(master.get());
  if (!other) return fail(other.error());
  return single(options, "pty:" + name, {std::move(master), std::move(*other)});
}

Made make_file(ChardevOptions& options, std::string_view kind) {
  const std::optional<std::string> path =
      kind == "null" ? "/dev/null" : options.rest.take_text("path");
  if (!path) return refuse("chardev: file: no filename given");
  const Result<bool> append = take_switch(options.rest, "append", false);
  if (!append) return fail(append.error());
  Result<OwnedDescriptor> input =
      open_file(options.rest.take_text("input-path").value_or("/dev/null"), O_RDONLY);
  if (!input) return fail(input.error());
  Result<OwnedDescriptor> output =
      open_file(*path, O_WRONLY | O_CREAT | (*append ? O_APPEND : O_TRUNC));
  if (!output) return fail(output.error());
  return single(options, std::string(kind), {std::move(*input), std::move(*output)});
}

Made make_stdio(ChardevOptions& options) {
  (void)options.rest.take_text("signal");  // Ctrl-C ends the daemon either way
  Result<std::unique_ptr<Stream>> stream = open_standard_stream();
  if (!stream) return fail(stream.error());
  return std::make_unique<SingleChardev>(options.id, "stdio", std::move(*stream));
}

Task<Made> make_kind(std::string kind, ChardevOptions& options) {
  if (kind == "socket") co_return co_await make_socket(options);
  if (kind == "stdio") co_return make_stdio(options);
  if (kind == "pipe") co_return make_pipe(options);
  if (kind == "pty") co_return make_pty(options);
  if (kind == "file" || kind == "null") co_return make_file(options, kind);
  co_return refuse(fmt::format("'{}' is not a valid char driver name", kind));
}

}  // namespace

Task<Result<std::unique_ptr<Chardev>>> make_chardev_of(std::string kind, std::string id,
                                                       OptionDict rest) {
  ChardevOptions options;
  options.id = std::move(id);
  options.rest = std::move(rest);
  Result<std::unique_ptr<Chardev>> made = co_await make_kind(std::move(kind), options);
  if (made && !options.rest.empty()) {
    co_return refuse(fmt::format("Invalid parameter '{}'", options.rest.entries().front().first));
  }
  co_return made;
}

Task<Result<std::unique_ptr<Chardev>>> make_chardev(std::string text) {
  Result<OptionDict> parsed = text.starts_with('{') ? OptionDict::parse_json(text)
                                                    : OptionDict::parse_key_value(text, "backend");
  if (!parsed) co_return fail(parsed.error());
  OptionDict rest = std::move(*parsed);
  const std::optional<std::string> kind = rest.take_text("backend");
  const std::optional<std::string> id = rest.take_text("id");
  if (!id) co_return refuse("chardev: no id specified");
  if (!kind) co_return refuse("chardev: \"" + *id + "\" missing backend");
  (void)rest.take_text("mux");  // every monitor has its channel for itself
  co_return co_await make_chardev_of(*kind, *id, std::move(rest));
}

}  // namespace ashlar::tools
