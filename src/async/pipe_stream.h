// A stream over two descriptors of any kind: pipes, terminals, files.
#pragma once

#include <memory>
#include <string>

#include "ashlar/stream.h"
#include "async/owned_descriptor.h"

namespace ashlar {

struct PipeEnds {
  OwnedDescriptor input;   ///< read from
  OwnedDescriptor output;  ///< written to
};

/// Leaves the flags of both as they are: other processes may share them.
std::unique_ptr<Stream> make_pipe_stream(PipeEnds ends, std::string name);

}  // namespace ashlar
