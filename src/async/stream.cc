// What every stream can do by what all streams can.
#include "ashlar/stream.h"

#include <fmt/format.h>

namespace ashlar {

Task<Result<void>> read_exactly(Stream& stream, MutableBuffers into) {
  const size_t wanted = into.size();
  while (!into.empty()) {
    Result<size_t> got = co_await stream.read_some(into);
    if (!got) co_return fail(got.error());
    if (*got == 0) {
      co_return fail(
          Error(ErrorCode::kClosed, fmt::format("\"{}\" closed the connection after {} of {} bytes",
                                                stream.peer(), wanted - into.size(), wanted))
              .because("stream-ended"));
    }
    into.remove_front(*got);
  }
  co_return ok();
}

}  // namespace ashlar
