// Channels that monitors are served on: sockets, standard input and output, pipes, terminals.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "ashlar/error.h"
#include "ashlar/options.h"
#include "ashlar/stream.h"
#include "ashlar/task.h"

namespace ashlar::tools {

/// Control loop only.
class Chardev {
 public:
  virtual ~Chardev() = default;
  const std::string& id() const { return id_; }
  /// As query-chardev shows it.
  virtual std::string filename() const = 0;
  /// The next connection: a channel without a listener has one. Errors: kClosed when there will be
  /// no more.
  virtual Task<Result<std::unique_ptr<Stream>>> next() = 0;
  /// Ends next().
  virtual void close() noexcept = 0;

 protected:
  explicit Chardev(std::string id) : id_(std::move(id)) {}

 private:
  std::string id_;
};

/// Makes what `text` describes: "TYPE,id=ID,...". A socket that listens with wait=on (the default)
/// is made when its first client has come.
Task<Result<std::unique_ptr<Chardev>>> make_chardev(std::string text);

/// The same from its parts: what kind it is, and the other options.
Task<Result<std::unique_ptr<Chardev>>> make_chardev_of(std::string kind, std::string id,
                                                       OptionDict rest);

}  // namespace ashlar::tools
