// Losses on the rendered geometry, and the Adam step.
#include "losses.hpp"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include "lanes.hpp"
#include "workspace.hpp"

namespace isk {

namespace {

constexpr int BAND = 16;  // rows a thread takes at a time

double sum_of(F a) {
  alignas(64) float lanes[L];
  store(lanes, a);
  double sum = 0;
  for (float lane : lanes) sum += lane;
  return sum;
}

// Rows with one pixel of padding on the left and at least L on the right, so that x ± 1 needs no bounds.
struct Rows {
  Rows(int width, int count) : stride((width + 2 + 2 * L + 15) / 16 * 16) {
    data.reserve(static_cast<size_t>(stride) * count);
    std::fill(data.data(), data.data() + static_cast<size_t>(stride) * count, 0.0f);
  }
  float* at(int k) { return data.data() + static_cast<size_t>(stride) * k + 1; }
  int stride;
  Buffer<float> data;
};

struct NormalTask {
  const Geometry& c;
  const float *normal, *depth, *alpha;
  float weight;  // loss weight / pixels
  float *g_normal, *g_depth, *g_alpha;
  double* sums;  // [H]
};

// Adds L pixels' gradients by the normal (world frame) and alpha to the images, from pixel `base` on.
void add_gradients(const NormalTask& task, size_t base, int lanes, V3 g_normal, F g_alpha) {
  alignas(64) float n[3][L], a[L];
  store(n[0], g_normal.x);
  store(n[1], g_normal.y);
  store(n[2], g_normal.z);
  store(a, g_alpha);
  for (int lane = 0; lane < lanes; ++lane) {
    for (int k = 0; k < 3; ++k) task.g_normal[(base + lane) * 3 + k] += n[k][lane];
    task.g_alpha[base + lane] += a[lane];
  }
}

// Loss of one row and the gradients by along_x, along_y (6 planes in `out`).  N = (∂y × ∂x) normalised.
void normal_row(const NormalTask& task, const Camera& camera, int y, bool counted, Rows& depth, Rows& out,
                int slot) {
  const Geometry& c = task.c;
  float* planes[6];
  for (int k = 0; k < 6; ++k) {
    planes[k] = out.at(slot * 6 + k);
    std::fill(planes[k] - 1, planes[k] + c.width + L, 0.0f);
  }
  if (y < 1 || y >= c.height - 1) {
    if (counted) task.sums[y] = 0;
    return;
  }
  for (int k = 0; k < 3; ++k)
    std::memcpy(depth.at(k), task.depth + static_cast<size_t>(y - 1 + k) * c.width, c.width * sizeof(float));
  alignas(64) static const float LANES[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const F zero(0.0f), one(1.0f), ix(1.0 / c.fx), iy(1.0 / c.fy), weight(task.weight);
  const F ry = F((y + 0.5 - c.cy) / c.fy), last(static_cast<float>(c.width - 2));
  F total = zero;
  for (int x = 0; x < c.width; x += L) {
    const F column = load(LANES) + F(static_cast<float>(x));
    const F rx = (column + F(0.5 - c.cx)) * ix;
    const F left = load(depth.at(1) + x - 1), right = load(depth.at(1) + x + 1);
    const F up = load(depth.at(0) + x), down = load(depth.at(2) + x);
    const Mask known =
        (left > zero) & (right > zero) & (up > zero) & (down > zero) & (column >= one) & (column <= last);
    if (!any(known)) continue;
    const V3 ax = {fma(rx, right - left, ix * (right + left)), ry * (right - left), right - left};
    const V3 ay = {rx * (down - up), fma(ry, down - up, iy * (down + up)), down - up};
    const V3 crossed = cross(ay, ax);
    const F norm2 = dot(crossed, crossed), inverse = one / sqrt(max(norm2, F(1e-37f)));
    const V3 unit = crossed * inverse;
    const Mask counts = known & (norm2 > F(1e-37f));

    alignas(64) float n[3][L], a[L];
    const int lanes = std::min(L, c.width - x);
    const size_t base = static_cast<size_t>(y) * c.width + x;
    for (int k = 0; k < 3; ++k) store(n[k], zero);
    for (int lane = 0; lane < lanes; ++lane)
      for (int k = 0; k < 3; ++k) n[k][lane] = task.normal[(base + lane) * 3 + k];
    const V3 blended = camera.to_camera({load(n[0]), load(n[1]), load(n[2])});
    store(a, zero);
    std::memcpy(a, task.alpha + base, lanes * sizeof(float));
    total += zero_unless(counts, load(a) - dot(blended, unit));

    // dL/dN = −blended; N = crossed / |crossed|
    const V3 g_unit = blended * (zero - weight);
    V3 g = (g_unit - unit * dot(unit, g_unit)) * inverse;
    g = {zero_unless(counts, g.x), zero_unless(counts, g.y), zero_unless(counts, g.z)};
    const V3 g_ay = cross(ax, g), g_ax = cross(g, ay);
    const F columns[6] = {g_ax.x, g_ax.y, g_ax.z, g_ay.x, g_ay.y, g_ay.z};
    for (int k = 0; k < 6; ++k) store(planes[k] + x, columns[k]);
    if (!counted) continue;
    const V3 world = camera.to_world(unit * (zero - weight));
    const V3 g_normal = {zero_unless(counts, world.x), zero_unless(counts, world.y),
                         zero_unless(counts, world.z)};
    add_gradients(task, base, lanes, g_normal, zero_unless(counts, weight));
  }
  if (counted) task.sums[y] = sum_of(total);
}

// g_depth of row y from the gradients of its own along_x and its neighbours' along_y.
void depth_row(const NormalTask& task, int y, Rows& planes, int slot_up, int slot, int slot_down) {
  const Geometry& c = task.c;
  alignas(64) static const float LANES[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const F ry = F((y + 0.5 - c.cy) / c.fy), ix(1.0 / c.fx);
  for (int x = 0; x < c.width; x += L) {
    F g[3];
    for (int k = 0; k < 3; ++k)
      g[k] = load(planes.at(slot * 6 + k) + x - 1) - load(planes.at(slot * 6 + k) + x + 1) +
             load(planes.at(slot_up * 6 + 3 + k) + x) - load(planes.at(slot_down * 6 + 3 + k) + x);
    const F rx = (load(LANES) + F(static_cast<float>(x)) + F(0.5 - c.cx)) * ix;
    alignas(64) float tmp[L];
    store(tmp, fma(rx, g[0], fma(ry, g[1], g[2])));
    const int lanes = std::min(L, c.width - x);
    float* to = task.g_depth + static_cast<size_t>(y) * c.width + x;
    for (int lane = 0; lane < lanes; ++lane) to[lane] += tmp[lane];
  }
}

}  // namespace

double normal_consistency(const Geometry& c, const float* normal, const float* depth, const float* alpha,
                          float weight, int threads, float* g_normal, float* g_depth, float* g_alpha) {
  std::vector<double> sums(c.height);
  const double pixels = static_cast<double>(c.width) * c.height;
  const NormalTask task{c,        normal,  depth,   alpha,      static_cast<float>(weight / pixels),
                        g_normal, g_depth, g_alpha, sums.data()};
  const Camera camera(c.world_from_camera);
  const int bands = (c.height + BAND - 1) / BAND;
  bool failed = false;
#pragma omp parallel num_threads(threads)
  {
    try {
      Rows rows(c.width, 3), planes(c.width, 6 * (BAND + 2));
#pragma omp for schedule(dynamic, 1)
      for (int b = 0; b < bands; ++b) {
        const int begin = b * BAND, end = std::min(c.height, begin + BAND);
        for (int y = begin - 1; y <= end; ++y)
          normal_row(task, camera, y, y >= begin && y < end, rows, planes, y - begin + 1);
        for (int y = begin; y < end; ++y) depth_row(task, y, planes, y - begin, y - begin + 1, y - begin + 2);
      }
    } catch (const std::bad_alloc&) {
#pragma omp atomic write
      failed = true;
    }
  }
  if (failed) throw std::bad_alloc();
  double total = 0;
  for (double sum : sums) total += sum;
  return weight * total / pixels;
}

double robust_depth(int64_t pixels, const float* depth, const float* measured, const float* trust,
                    float tolerance, float weight, int threads, float* g_depth) {
  constexpr int64_t CHUNK = 4096;
  const int64_t chunks = (pixels + CHUNK - 1) / CHUNK;
  std::vector<double> sums(chunks);
  const F scale(static_cast<double>(weight) / static_cast<double>(pixels)), zero(0.0f), one(1.0f),
      tol(tolerance);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t end = std::min(pixels, (chunk + 1) * CHUNK);
    F total = zero;
    for (int64_t i = chunk * CHUNK; i < end; i += L) {
      alignas(64) float tmp[4][L] = {};
      const size_t bytes = std::min<int64_t>(L, end - i) * sizeof(float);
      std::memcpy(tmp[0], depth + i, bytes);
      std::memcpy(tmp[1], measured + i, bytes);
      std::memcpy(tmp[2], trust + i, bytes);
      std::memcpy(tmp[3], g_depth + i, bytes);
      const F truth = load(tmp[1]);
      const Mask known = truth > zero;
      const F inverse = one / select(known, truth, one), relative = (load(tmp[0]) - truth) * inverse;
      const F root = sqrt(fma(relative, relative, F(1e-6f))), size = root - F(1e-3f);
      const F below = one / (size + tol), confidence = zero_unless(known, load(tmp[2]));
      total = fma(size * below, confidence, total);
      // d/d size of size / (size + tol) is tol / (size + tol)²
      const F g = confidence * scale * tol * below * below * relative / root * inverse;
      store(tmp[3], load(tmp[3]) + g);
      std::memcpy(g_depth + i, tmp[3], bytes);
    }
    sums[chunk] = sum_of(total);
  }
  double total = 0;
  for (double sum : sums) total += sum;
  return weight * total / static_cast<double>(pixels);
}

void adam(int64_t rows, int width, float* parameter, const float* gradient, float* mean, float* square,
          const uint8_t* chosen, float rate, float beta1, float beta2, float epsilon, float correction1,
          float correction2, int threads) {
  const int64_t count = rows * width;
  constexpr int64_t CHUNK = 16384;
  const F b1(beta1), b2(beta2), c1(1.0f - beta1), c2(1.0f - beta2), eps(epsilon), step(-rate / correction1);
  const F root_scale(1.0f / std::sqrt(correction2));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t chunk = 0; chunk < (count + CHUNK - 1) / CHUNK; ++chunk) {
    const int64_t end = std::min(count, (chunk + 1) * CHUNK);
    for (int64_t i = chunk * CHUNK; i < end; i += L) {
      const int lanes = static_cast<int>(std::min<int64_t>(L, end - i));
      alignas(64) float tmp[5][L] = {};
      const bool whole = lanes == L && !chosen;
      const float* source[4] = {parameter + i, gradient + i, mean + i, square + i};
      if (!whole)
        for (int k = 0; k < 4; ++k) std::memcpy(tmp[k], source[k], lanes * sizeof(float));
      const F p = load(whole ? source[0] : tmp[0]), g = load(whole ? source[1] : tmp[1]);
      const F old_m = load(whole ? source[2] : tmp[2]), old_v = load(whole ? source[3] : tmp[3]);
      const F m = fma(b1, old_m, c1 * g), v = fma(b2, old_v, c2 * g * g);
      const F next = fma(step, m / fma(sqrt(v), root_scale, eps), p);
      if (whole) {
        store(parameter + i, next);
        store(mean + i, m);
        store(square + i, v);
        continue;
      }
      for (int lane = 0; lane < lanes; ++lane)
        tmp[4][lane] = !chosen || chosen[(i + lane) / width] ? 1.0f : 0.0f;
      const Mask moves = load(tmp[4]) > F(0.0f);
      store(tmp[0], select(moves, next, p));
      store(tmp[2], select(moves, m, old_m));
      store(tmp[3], select(moves, v, old_v));
      std::memcpy(parameter + i, tmp[0], lanes * sizeof(float));
      std::memcpy(mean + i, tmp[2], lanes * sizeof(float));
      std::memcpy(square + i, tmp[3], lanes * sizeof(float));
    }
  }
}

}  // namespace isk
