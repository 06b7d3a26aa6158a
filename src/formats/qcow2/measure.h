// How large a qcow2 image of some disk will be.
#pragma once

#include "ashlar/driver.h"

namespace ashlar::qcow2 {

/// For DriverSpec::measure. Where data of the source falls on a cluster, the cluster counts whole;
/// metadata counts as if everything was allocated.
/// Errors: those of read_measure_options(), and what the source gives.
Task<Result<Measurement>> measure(MeasureSource& source, OptionDict options);

}  // namespace ashlar::qcow2
