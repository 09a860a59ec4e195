// Reading and writing L consecutive rows of small row-major arrays as vectors, one per column.
#pragma once

#include <initializer_list>

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

// L doubles, where float32 would cancel: the plane offset of disks seen at grazing angles.
typedef double D __attribute__((vector_size(8 * L)));
typedef float FV __attribute__((vector_size(4 * L)));

inline D widen(F a) {
  FV v;
  std::memcpy(&v, &a, sizeof v);
  return __builtin_convertvector(v, D);
}
inline F narrow(D a) {
  const FV v = __builtin_convertvector(a, FV);
  F r(0.0f);
  std::memcpy(&r, &v, sizeof v);
  return r;
}
struct D3 {
  D x, y, z;
};
inline D dot(const D3& a, const D3& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline D3 cross(const D3& a, const D3& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

struct V3 {
  F x, y, z;
};
inline V3 narrow(const D3& a) { return {narrow(a.x), narrow(a.y), narrow(a.z)}; }
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
  D3 to_camera(const D3& a) const {
    return {widen(r[0][0]) * a.x + widen(r[1][0]) * a.y + widen(r[2][0]) * a.z,
            widen(r[0][1]) * a.x + widen(r[1][1]) * a.y + widen(r[2][1]) * a.z,
            widen(r[0][2]) * a.x + widen(r[1][2]) * a.y + widen(r[2][2]) * a.z};
  }
  V3 to_world(V3 a) const {  // R a
    return {fma(r[0][0], a.x, fma(r[0][1], a.y, r[0][2] * a.z)),
            fma(r[1][0], a.x, fma(r[1][1], a.y, r[1][2] * a.z)),
            fma(r[2][0], a.x, fma(r[2][1], a.y, r[2][2] * a.z))};
  }
};

struct Disk {    // L disks
  D3 offset;     // mean − camera centre, world frame
  D3 tu, tv, n;  // columns of the rotation, world frame
  F su, sv;
  F opacity, clear;            // clear = 1 − opacity, exact also near 0
  D qw, qx, qy, qz, inv_norm;  // normalised quaternion
  Mask finite;                 // no parameter is NaN or infinite
};

inline Disk load_disks(const float* means, const float* quaternions, const float* log_scales,
                       const float* logit_opacities, const Camera& camera, int64_t first, int64_t count) {
  F m[3], q[4], s[2], o[1];
  load_rows<3>(means, first, count, m);
  load_rows<4>(quaternions, first, count, q);
  load_rows<2>(log_scales, first, count, s);
  load_rows<1>(logit_opacities, first, count, o);
  Disk d;
  F poison(0.0f);  // 0 · NaN and 0 · ∞ are NaN
  for (const F& x : {m[0], m[1], m[2], q[0], q[1], q[2], q[3], s[0], s[1], o[0]})
    poison = fma(x, F(0.0f), poison);
  d.finite = poison == F(0.0f);
  d.offset = {widen(m[0]) - widen(camera.t[0]), widen(m[1]) - widen(camera.t[1]),
              widen(m[2]) - widen(camera.t[2])};
  const D a = widen(q[0]), b = widen(q[1]), c = widen(q[2]), e = widen(q[3]);
  const D norm2 = a * a + b * b + c * c + e * e;
  D inv = widen(F(1.0f) / sqrt(max(narrow(norm2), F(1e-24f))));
  inv = inv * (1.5 - 0.5 * norm2 * inv * inv);  // Newton: from float to nearly double precision
  d.inv_norm = inv;
  const D w = a * inv, x = b * inv, y = c * inv, z = e * inv;
  d.tu = {1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)};
  d.tv = {2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)};
  d.n = {2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)};
  d.qw = w, d.qx = x, d.qy = y, d.qz = z;
  d.su = exp(min(max(s[0], F(-60.0f)), F(60.0f)));
  d.sv = exp(min(max(s[1], F(-60.0f)), F(60.0f)));
  const F e_opacity = exp(min(max(-o[0], F(-60.0f)), F(60.0f)));
  d.opacity = F(1.0f) / (F(1.0f) + e_opacity);
  d.clear = e_opacity * d.opacity;
  return d;
}

}  // namespace isk
