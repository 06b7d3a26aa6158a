// Cuts a stream of bytes into JSON texts. What a client sends needs no line ends: a text is over
// when its brackets are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/bytes.h"

namespace ashlar::monitor {

/// Takes bytes as they come and gives whole texts. Strings may have single quotes: the texts that
/// come out have double ones. A control character (or 0xFF) outside of the white space ends
/// whatever was begun, so that clients can start afresh.
class JsonFramer {
 public:
  struct Limits {
    size_t text = 16_MiB;
    size_t tokens = 512 * 1024;
    size_t depth = 1024;
  };
  /// A whole text, or what was wrong, in words for the client.
  struct Frame {
    std::string text;
    std::string problem;
  };

  JsonFramer() = default;
  explicit JsonFramer(Limits limits) : limits_(limits) {}

  void feed(std::string_view bytes);
  /// The next frame, oldest first.
  std::optional<Frame> next();
  /// Whether a text has begun that is not over.
  bool inside() const { return !brackets_.empty() || place_ == Place::kString || !word_.empty(); }

 private:
  enum class Place : uint8_t {
    kPlain,       ///< between tokens, or in a word
    kString,      ///< between quotes
    kRecovering,  ///< after a stray character: skips to the next blank or bracket
    kSkipping,    ///< after a limit: skips to the end of the line
  };
  void take(char c);
  void take_plain(char c);
  void take_in_string(char c);
  void open(char bracket);
  void close(char bracket);
  void end_word();
  void append(char c);
  bool count_token();
  void finish();
  void fail(std::string problem, Place next);
  void clear();

  Limits limits_;
  Place place_ = Place::kPlain;
  std::string text_;
  std::string word_;
  std::string problem_;  // of a text that goes on: told at its end
  std::vector<char> brackets_;
  size_t tokens_ = 0;
  size_t string_start_ = 0;
  char quote_ = 0;
  bool escaped_ = false;
  std::deque<Frame> frames_;
};

}  // namespace ashlar::monitor
