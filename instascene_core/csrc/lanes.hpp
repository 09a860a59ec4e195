// Reading and writing L consecutive rows of small row-major arrays as vectors, one per column.
#pragma once

#include "simd.hpp"

namespace isk {

// columns[k][lane] = data[(first + lane) * width + k]; rows past the end repeat the last one.
template <int width>
inline void load_rows(const float* data, int64_t first, int64_t count, F* columns) {
  alignas(64) float tmp[width][L];
  for (int lane = 0; lane < L; ++lane) {
    const int64_t row = first + lane < count ? first + lane : count - 1;
    for (int k = 0; k < width; ++k) tmp[k][lane] = data[row * width + k];
  }
  for (int k = 0; k < width; ++k) columns[k] = load(tmp[k]);
}

template <int width>
inline void store_rows(float* data, int64_t first, int64_t count, const F* columns) {
  alignas(64) float tmp[width][L];
  for (int k = 0; k < width; ++k) store(tmp[k], columns[k]);
  const int64_t lanes = count - first < L ? count - first : L;
  for (int64_t lane = 0; lane < lanes; ++lane)
    for (int k = 0; k < width; ++k) data[(first + lane) * width + k] = tmp[k][lane];
}

struct V3 {
  F x, y, z;
};
inline V3 operator+(V3 a, V3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline V3 operator-(V3 a, V3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline V3 operator*(V3 a, F s) { return {a.x * s, a.y * s, a.z * s}; }
inline V3& operator+=(V3& a, V3 b) { return a = a + b; }
inline F dot(V3 a, V3 b) { return fma(a.x, b.x, fma(a.y, b.y, a.z * b.z)); }
inline V3 cross(V3 a, V3 b) {
  return {fma(a.y, b.z, -(a.z * b.y)), fma(a.z, b.x, -(a.x * b.z)), fma(a.x, b.y, -(a.y * b.x))};
}

// The camera's rotation and position, broadcast.
struct Camera {
  F r[3][3], t[3];
  explicit Camera(const float* world_from_camera) {
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) r[i][j] = F(world_from_camera[4 * i + j]);
      t[i] = F(world_from_camera[4 * i + 3]);
    }
  }
  V3 to_camera(V3 a) const {  // Rᵀ a
    return {fma(r[0][0], a.x, fma(r[1][0], a.y, r[2][0] * a.z)),
            fma(r[0][1], a.x, fma(r[1][1], a.y, r[2][1] * a.z)),
            fma(r[0][2], a.x, fma(r[1][2], a.y, r[2][2] * a.z))};
  }
  V3 to_world(V3 a) const {  // R a
    return {fma(r[0][0], a.x, fma(r[0][1], a.y, r[0][2] * a.z)),
            fma(r[1][0], a.x, fma(r[1][1], a.y, r[1][2] * a.z)),
            fma(r[2][0], a.x, fma(r[2][1], a.y, r[2][2] * a.z))};
  }
};

struct Disk {                 // L disks, world frame
  V3 offset;                  // mean − camera centre
  V3 tu, tv, n;               // columns of the rotation
  F su, sv, opacity;
  F qw, qx, qy, qz, inv_norm;  // normalised quaternion
};

inline Disk load_disks(const float* means, const float* quaternions, const float* log_scales,
                       const float* logit_opacities, const Camera& camera, int64_t first, int64_t count) {
  F m[3], q[4], s[2], o[1];
  load_rows<3>(means, first, count, m);
  load_rows<4>(quaternions, first, count, q);
  load_rows<2>(log_scales, first, count, s);
  load_rows<1>(logit_opacities, first, count, o);
  Disk d;
  d.offset = {m[0] - camera.t[0], m[1] - camera.t[1], m[2] - camera.t[2]};
  const F norm2 = fma(q[0], q[0], fma(q[1], q[1], fma(q[2], q[2], q[3] * q[3])));
  d.inv_norm = F(1.0f) / sqrt(max(norm2, F(1e-24f)));
  const F w = q[0] * d.inv_norm, x = q[1] * d.inv_norm, y = q[2] * d.inv_norm, z = q[3] * d.inv_norm;
  const F one(1.0f), two(2.0f);
  d.tu = {one - two * fma(y, y, z * z), two * fma(x, y, w * z), two * fma(x, z, -(w * y))};
  d.tv = {two * fma(x, y, -(w * z)), one - two * fma(x, x, z * z), two * fma(y, z, w * x)};
  d.n = {two * fma(x, z, w * y), two * fma(y, z, -(w * x)), one - two * fma(x, x, y * y)};
  d.qw = w, d.qx = x, d.qy = y, d.qz = z;
  d.su = exp(min(max(s[0], F(-60.0f)), F(60.0f)));
  d.sv = exp(min(max(s[1], F(-60.0f)), F(60.0f)));
  d.opacity = one / (one + exp(min(max(-o[0], F(-60.0f)), F(60.0f))));
  return d;
}

}  // namespace isk
