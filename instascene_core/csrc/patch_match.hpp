// Depth by slanted patches; see kernel.h.
#pragma once

#include "kernel.h"

namespace isk {

void patch_match(const isk_stereo& stereo, float* planes, float* costs);

}  // namespace isk
