// View-dependent colour: max(0, 0.5 + Σ sh·Y(direction)), real spherical harmonics up to degree 3.
#include <omp.h>

#include <algorithm>
#include <vector>

#include "lanes.hpp"
#include "workspace.hpp"

namespace isk {

namespace {

constexpr float C0 = 0.28209479177387814f, C1 = 0.4886025119029199f;
constexpr float C2A = 1.0925484305920792f, C2B = 0.31539156525252005f, C2C = 0.5462742152960396f;
constexpr float C3A = 0.5900435899266435f, C3B = 2.890611442640554f, C3C = 0.4570457994644658f;
constexpr float C3D = 0.3731763325901154f, C3E = 1.445305721320277f;

// Basis values y [K] and, if wanted, their gradients by the unit direction.
template <int DEGREE>
void basis(V3 d, F* y, V3* grad) {
  const F x = d.x, v = d.y, z = d.z, zero(0.0f);
  y[0] = F(C0);
  if (grad) grad[0] = {zero, zero, zero};
  if (DEGREE < 1) return;
  y[1] = v * F(-C1);
  y[2] = z * F(C1);
  y[3] = x * F(-C1);
  if (grad) {
    grad[1] = {zero, F(-C1), zero};
    grad[2] = {zero, zero, F(C1)};
    grad[3] = {F(-C1), zero, zero};
  }
  if (DEGREE < 2) return;
  const F xx = x * x, yy = v * v, zz = z * z, two(2.0f);
  y[4] = x * v * F(C2A);
  y[5] = v * z * F(-C2A);
  y[6] = (two * zz - xx - yy) * F(C2B);
  y[7] = x * z * F(-C2A);
  y[8] = (xx - yy) * F(C2C);
  if (grad) {
    grad[4] = V3{v, x, zero} * F(C2A);
    grad[5] = V3{zero, z, v} * F(-C2A);
    grad[6] = V3{-two * x, -two * v, F(4.0f) * z} * F(C2B);
    grad[7] = V3{z, zero, x} * F(-C2A);
    grad[8] = V3{two * x, -two * v, zero} * F(C2C);
  }
  if (DEGREE < 3) return;
  const F three(3.0f), four(4.0f), six(6.0f), eight(8.0f);
  y[9] = v * (three * xx - yy) * F(-C3A);
  y[10] = x * v * z * F(C3B);
  y[11] = v * (four * zz - xx - yy) * F(-C3C);
  y[12] = z * (two * zz - three * xx - three * yy) * F(C3D);
  y[13] = x * (four * zz - xx - yy) * F(-C3C);
  y[14] = z * (xx - yy) * F(C3E);
  y[15] = x * (xx - three * yy) * F(-C3A);
  if (grad) {
    grad[9] = V3{six * x * v, three * xx - three * yy, zero} * F(-C3A);
    grad[10] = V3{v * z, x * z, x * v} * F(C3B);
    grad[11] = V3{-two * x * v, four * zz - xx - three * yy, eight * v * z} * F(-C3C);
    grad[12] = V3{-six * x * z, -six * v * z, six * zz - three * xx - three * yy} * F(C3D);
    grad[13] = V3{four * zz - three * xx - yy, -two * x * v, eight * x * z} * F(-C3C);
    grad[14] = V3{two * x * z, -two * v * z, xx - yy} * F(C3E);
    grad[15] = V3{three * xx - three * yy, -six * x * v, zero} * F(-C3A);
  }
}

struct Arguments {
  int64_t n;
  int coefficients;  // stored per Gaussian, ≥ those of the degree
  const float *means, *camera, *sh;
};

struct Direction {
  V3 unit;
  F inv_norm;
};

Direction direction(const Arguments& a, int64_t first) {
  F m[3];
  load_rows<3>(a.means, first, a.n, m);
  const V3 offset = {m[0] - F(a.camera[0]), m[1] - F(a.camera[1]), m[2] - F(a.camera[2])};
  const F inv = F(1.0f) / sqrt(max(dot(offset, offset), F(1e-24f)));
  return {offset * inv, inv};
}

// Coefficients of L Gaussians as columns; the tail repeats the last row.
template <int K>
void load_coefficients(const Arguments& a, int64_t first, F* columns) {
  alignas(64) float tmp[3 * K][L];
  for (int lane = 0; lane < L; ++lane) {
    const int64_t row = first + lane < a.n ? first + lane : a.n - 1;
    const float* source = a.sh + row * a.coefficients * 3;
    for (int k = 0; k < 3 * K; ++k) tmp[k][lane] = source[k];
  }
  for (int k = 0; k < 3 * K; ++k) columns[k] = load(tmp[k]);
}

template <int DEGREE>
void evaluate_colors(const Arguments& a, int threads, float* colors) {
  constexpr int K = (DEGREE + 1) * (DEGREE + 1);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t first = 0; first < a.n; first += L) {
    F y[K], sh[3 * K], color[3];
    basis<DEGREE>(direction(a, first).unit, y, nullptr);
    load_coefficients<K>(a, first, sh);
    for (int c = 0; c < 3; ++c) {
      color[c] = F(0.5f);
      for (int k = 0; k < K; ++k) color[c] = fma(sh[3 * k + c], y[k], color[c]);
      color[c] = max(color[c], F(0.0f));
    }
    store_rows<3>(colors, first, a.n, color);
  }
}

// Writes the rows of dL/dsh [K·3] and adds those of dL/dmean; returns the latter, lanes beyond the end zero.
template <int K>
V3 store_gradients(const Arguments& a, int64_t first, const F* g, const F* y, V3 g_mean, float* g_sh,
                   float* g_means) {
  alignas(64) float tmp[3 * K][L], mean[3][L];
  for (int k = 0; k < K; ++k)
    for (int c = 0; c < 3; ++c) store(tmp[3 * k + c], g[c] * y[k]);
  store(mean[0], g_mean.x);
  store(mean[1], g_mean.y);
  store(mean[2], g_mean.z);
  const int64_t lanes = std::min<int64_t>(L, a.n - first);
  for (int64_t lane = 0; lane < lanes; ++lane) {
    float* to = g_sh + (first + lane) * a.coefficients * 3;
    for (int k = 0; k < 3 * K; ++k) to[k] = tmp[k][lane];
    for (int k = 3 * K; k < 3 * a.coefficients; ++k) to[k] = 0.0f;
    for (int k = 0; k < 3; ++k) g_means[(first + lane) * 3 + k] += mean[k][lane];
  }
  for (int64_t lane = lanes; lane < L; ++lane)  // the repeated last row must count once
    mean[0][lane] = mean[1][lane] = mean[2][lane] = 0.0f;
  return {load(mean[0]), load(mean[1]), load(mean[2])};
}

template <int DEGREE>
void backpropagate(const Arguments& a, int threads, const float* colors, const float* g_colors, float* g_sh,
                   float* g_means, float* g_camera) {
  constexpr int K = (DEGREE + 1) * (DEGREE + 1);
  constexpr int64_t CHUNK = 1024;
  const int64_t chunks = (a.n + CHUNK - 1) / CHUNK;
  std::vector<double> partials(chunks * 3, 0.0);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t end = std::min((chunk + 1) * CHUNK, a.n);
    V3 camera_sum = {F(0.0f), F(0.0f), F(0.0f)};
    for (int64_t first = chunk * CHUNK; first < end; first += L) {
      F y[K], sh[3 * K], color[3], g[3];
      V3 grad[K];
      const Direction d = direction(a, first);
      basis<DEGREE>(d.unit, y, grad);
      load_coefficients<K>(a, first, sh);
      load_rows<3>(colors, first, a.n, color);
      load_rows<3>(g_colors, first, a.n, g);
      for (int c = 0; c < 3; ++c) g[c] = zero_unless(color[c] > F(0.0f), g[c]);
      V3 g_dir = {F(0.0f), F(0.0f), F(0.0f)};
      for (int k = 1; k < K; ++k)
        g_dir += grad[k] * fma(g[0], sh[3 * k], fma(g[1], sh[3 * k + 1], g[2] * sh[3 * k + 2]));
      const V3 g_mean = (g_dir - d.unit * dot(d.unit, g_dir)) * d.inv_norm;
      // A broken Gaussian must not reach the camera's sum; its NaN does not survive `direction`'s norm.
      const Mask finite = (g_mean.x - g_mean.x) + (g_mean.y - g_mean.y) + (g_mean.z - g_mean.z) == F(0.0f);
      const V3 kept = {zero_unless(finite, g_mean.x), zero_unless(finite, g_mean.y),
                       zero_unless(finite, g_mean.z)};
      camera_sum += store_gradients<K>(a, first, g, y, kept, g_sh, g_means);
    }
    const F sums[3] = {camera_sum.x, camera_sum.y, camera_sum.z};
    for (int k = 0; k < 3; ++k) {
      alignas(64) float lanes[L];
      store(lanes, sums[k]);
      for (float lane : lanes) partials[chunk * 3 + k] += lane;
    }
  }
  if (!g_camera) return;
  for (int k = 0; k < 3; ++k) {
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) total += partials[chunk * 3 + k];
    g_camera[k] -= static_cast<float>(total);
  }
}

}  // namespace

void sh_forward(int64_t n, int coefficients, int degree, int threads, const float* means, const float* camera,
                const float* sh, float* colors) {
  const Arguments a{n, coefficients, means, camera, sh};
  if (degree == 0) evaluate_colors<0>(a, threads, colors);
  if (degree == 1) evaluate_colors<1>(a, threads, colors);
  if (degree == 2) evaluate_colors<2>(a, threads, colors);
  if (degree == 3) evaluate_colors<3>(a, threads, colors);
}

void sh_backward(int64_t n, int coefficients, int degree, int threads, const float* means,
                 const float* camera, const float* sh, const float* colors, const float* g_colors,
                 float* g_sh, float* g_means, float* g_camera) {
  const Arguments a{n, coefficients, means, camera, sh};
  if (degree == 0) backpropagate<0>(a, threads, colors, g_colors, g_sh, g_means, g_camera);
  if (degree == 1) backpropagate<1>(a, threads, colors, g_colors, g_sh, g_means, g_camera);
  if (degree == 2) backpropagate<2>(a, threads, colors, g_colors, g_sh, g_means, g_camera);
  if (degree == 3) backpropagate<3>(a, threads, colors, g_colors, g_sh, g_means, g_camera);
}

}  // namespace isk
