// json: names in the order of members that the peer's tools show.
#pragma once

#include <string>

#include "ashlar/node.h"
#include "ashlar/options.h"

namespace ashlar::tools {

/// What `node` is called towards users, as the peer's tools write it.
std::string shown_name(const Node& node);

/// The same options, in the order the peer's tools show them in.
OptionDict in_shown_order(OptionDict options);

}  // namespace ashlar::tools
