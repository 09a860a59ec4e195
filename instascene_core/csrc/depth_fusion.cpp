// What one posed depth image adds to each voxel of a grid: `geometry/tsdf.py` says what the sums mean, and
// computes the same ones slowly.  Rounding is part of the contract: both give the same bits.
#include "depth_fusion.hpp"

#include <cmath>
#include <vector>

namespace isk {

namespace {

// Kinds of pixels, as in geometry/tsdf.py.
constexpr uint8_t TARGET = 1, OTHER = 2, UNOWNED = 4;

// The voxels of one row of the grid, as a view sees them.  Loops over them have no branches: the compiler
// takes as many at a time as the instruction set allows.
struct Row {
  std::vector<float> u, v, z;     // pixels and metres
  std::vector<int32_t> pixel;     // 0 of those that the view does not show
  std::vector<int32_t> is_shown;  // 1 or 0
  std::vector<int32_t> is_near;   // 1: a surface is so near that the voxel may take its distance
  explicit Row(int32_t size) : u(size), v(size), z(size), pixel(size), is_shown(size), is_near(size) {}
};

void project(const isk_depth_view& view, int32_t i, int32_t j, Row& row) {
  float along[3], begin[3];
  for (int c = 0; c < 3; ++c) {
    begin[c] = view.start[c] + view.steps[3 * c + 1] * static_cast<float>(j);
    along[c] = view.steps[3 * c] * static_cast<float>(i);
  }
  const float step_u = view.steps[2], step_v = view.steps[5], step_z = view.steps[8];
  const float width = static_cast<float>(view.width), height = static_cast<float>(view.height);
  const int32_t size = static_cast<int32_t>(row.z.size()), stride = view.width;
  float *const us = row.u.data(), *const vs = row.v.data(), *const zs = row.z.data();
  int32_t *const pixels = row.pixel.data(), *const shown = row.is_shown.data();
  for (int32_t k = 0; k < size; ++k) {
    const float step = static_cast<float>(k);
    const float z = (begin[2] + step_z * step) + along[2];
    const float u = ((begin[0] + step_u * step) + along[0]) / z;
    const float v = ((begin[1] + step_v * step) + along[1]) / z;
    const bool inside = (z > 1e-6f) & (u >= 0) & (v >= 0) & (u < width) & (v < height);
    const int32_t column = static_cast<int32_t>(inside ? u : 0.0f);
    const int32_t line = static_cast<int32_t>(inside ? v : 0.0f);
    us[k] = u;
    vs[k] = v;
    zs[k] = z;
    pixels[k] = line * stride + column;
    shown[k] = inside;
  }
}

// Counts the view for the voxels that it sees past, and marks those that are near a surface.
void compare(const isk_depth_view& view, Row& row, int16_t* free_views) {
  const float reach = static_cast<float>(2.0 * view.truncation), band = static_cast<float>(view.band);
  const int32_t size = static_cast<int32_t>(row.z.size());
  const float *const zs = row.z.data(), *const carve = view.carve, *const depths = view.depth;
  const int32_t *const pixels = row.pixel.data(), *const shown = row.is_shown.data();
  int32_t* const near = row.is_near.data();
  for (int32_t k = 0; k < size; ++k) {
    const float depth = depths[pixels[k]], gap = std::fabs(depth - zs[k]);
    near[k] = shown[k] & (gap < reach) & (depth > 0);
  }
  for (int32_t k = 0; k < size; ++k)
    free_views[k] += static_cast<int16_t>(shown[k] & (carve[pixels[k]] - zs[k] > band));
}

// A surface at `pixel`, so far (metres) before the voxel.
void add_surface(const isk_depth_view& view, const isk_voxel_sums& sums, int64_t voxel, int64_t pixel,
                 float distance) {
  const uint8_t what = view.what[pixel];
  if (what == TARGET) {
    const float weight = view.weight ? view.weight[pixel] : 1.0f;
    sums.distance[voxel] += weight * distance;
    sums.weight[voxel] += weight;
    ++sums.views[voxel];
    for (int c = 0; c < 3; ++c)
      sums.color[3 * voxel + c] += weight * static_cast<float>(view.rgb[3 * pixel + c]);
  } else if (what == OTHER || what == UNOWNED) {
    const float vote = what == OTHER ? 1.0f : 0.5f;
    sums.other_distance[voxel] += vote * distance;
    sums.other_views[voxel] += vote;
  }
}

}  // namespace

void fuse_depth(const isk_depth_view& view, const isk_voxel_sums& sums) {
  Row row(sums.nz);
  const float band = static_cast<float>(view.band), truncation = static_cast<float>(view.truncation);
  for (int32_t i = 0; i < sums.nx; ++i)
    for (int32_t j = 0; j < sums.ny; ++j) {
      const int64_t first = (static_cast<int64_t>(i) * sums.ny + j) * sums.nz;
      project(view, i, j, row);
      compare(view, row, sums.free_views + first);
      for (int32_t k = 0; k < sums.nz; ++k) {
        if (!row.is_near[k]) continue;
        const int64_t pixel = row.pixel[k];
        const int32_t column = row.pixel[k] % view.width, line = row.pixel[k] / view.width;
        // Read between pixel centres, in double precision as numpy does.
        const double across = static_cast<double>(row.u[k]) - column - 0.5;
        const double down = static_cast<double>(row.v[k]) - line - 0.5;
        float distance = view.depth[pixel] - row.z[k];
        distance = static_cast<float>(distance + view.slope_u[pixel] * across);
        distance = static_cast<float>(distance + view.slope_v[pixel] * down);
        if (distance > -band && distance < truncation) add_surface(view, sums, first + k, pixel, distance);
      }
    }
}

}  // namespace isk
