// Depth images, one after another, into the sums of a grid of voxels.
#pragma once

#include "kernel.h"

namespace isk {

void fuse_depth(const isk_depth_view& view, const isk_voxel_sums& sums);

}  // namespace isk
