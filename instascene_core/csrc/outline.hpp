// Where disks that pass through the camera plane appear: their ellipse formula has no answer there.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernel.h"

namespace isk {

// A convex polygon in the image, in pixels, that holds all of a disk that lies beyond the near plane.
class Outline {
 public:
  // Gaussian g cut `radius` standard deviations from its mean.  A polygon around the disk is clipped at the
  // near plane in space, then projected: convex sets in front of the camera stay convex.
  Outline(const isk_scene& s, int64_t g, double radius) {
    double center[3], axes[2][3];
    disk_axes(s, g, radius / std::cos(M_PI / CORNERS), center, axes);
    double before[3], point[3];
    corner(center, axes, CORNERS - 1, before);
    for (int k = 0; k < CORNERS; ++k) {
      corner(center, axes, k, point);
      const double near = 0.999 * s.near_plane;  // a little in front, against rounding
      if ((before[2] > near) != (point[2] > near)) {
        const double share = (near - before[2]) / (point[2] - before[2]);
        double cut[3] = {0, 0, near};
        for (int i = 0; i < 2; ++i) cut[i] = before[i] + share * (point[i] - before[i]);
        add(s, cut);
      }
      if (point[2] > near) add(s, point);
      std::copy_n(point, 3, before);
    }
  }

  // Widens [low, high], columns, by those between rows `top` and `bottom`.
  void widen(double top, double bottom, double* low, double* high) const {
    for (int k = 0; k < count_; ++k) {
      const int j = (k + 1) % count_;
      const double rise = y_[j] - y_[k];
      if (std::max(y_[k], y_[j]) < top || std::min(y_[k], y_[j]) > bottom) continue;
      for (const double row : {y_[k], y_[j]}) {
        const double inside = std::min(std::max(row, top), bottom);
        const double share = rise == 0 ? (row == y_[k] ? 0 : 1) : (inside - y_[k]) / rise;
        const double column = x_[k] + share * (x_[j] - x_[k]);
        *low = std::min(*low, column), *high = std::max(*high, column);
      }
    }
  }

  // Widens [top, bottom] by all its rows.
  void widen_rows(double* top, double* bottom) const {
    for (int k = 0; k < count_; ++k) *top = std::min(*top, y_[k]), *bottom = std::max(*bottom, y_[k]);
  }

 private:
  static constexpr int CORNERS = 16;

  // Camera frame: the mean, and the disk's two axes as long as `radius` standard deviations.
  static void disk_axes(const isk_scene& s, int64_t g, double radius, double* center, double axes[2][3]) {
    const float *m = s.means + 3 * g, *quaternion = s.quaternions + 4 * g, *camera = s.world_from_camera;
    double q[4], norm = 0;
    for (int k = 0; k < 4; ++k) norm += static_cast<double>(quaternion[k]) * quaternion[k];
    for (int k = 0; k < 4; ++k) q[k] = quaternion[k] / std::sqrt(std::max(norm, 1e-24));
    const double w = q[0], x = q[1], y = q[2], z = q[3];
    const double world[2][3] = {{1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)},
                                {2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)}};
    for (int i = 0; i < 3; ++i) {
      center[i] = axes[0][i] = axes[1][i] = 0;
      for (int k = 0; k < 3; ++k) {
        center[i] += camera[4 * k + i] * (static_cast<double>(m[k]) - camera[4 * k + 3]);
        for (int a = 0; a < 2; ++a) axes[a][i] += camera[4 * k + i] * world[a][k];
      }
      for (int a = 0; a < 2; ++a) axes[a][i] *= radius * std::exp(std::min(s.log_scales[2 * g + a], 60.0f));
    }
  }

  static void corner(const double* center, const double axes[2][3], int k, double* point) {
    const double angle = 2 * M_PI * k / CORNERS, c = std::cos(angle), sine = std::sin(angle);
    for (int i = 0; i < 3; ++i) point[i] = center[i] + c * axes[0][i] + sine * axes[1][i];
  }

  void add(const isk_scene& s, const double* point) {
    x_[count_] = s.fx * point[0] / point[2] + s.cx;
    y_[count_++] = s.fy * point[1] / point[2] + s.cy;
  }

  int count_ = 0;
  double x_[CORNERS + 2], y_[CORNERS + 2];  // clipping at a plane adds two corners at most
};

}  // namespace isk
