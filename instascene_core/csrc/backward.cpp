// Gradients of the blended images, back to front.
//
// Each tile writes one row per Gaussian it holds, at that Gaussian's own slot; project_backward() then sums
// the rows Gaussian by Gaussian.  No atomics, and the same bits whatever the number of threads.
//
// With features f_i (colour, normal, plane offset, 1, …), weights w_i = α_i T_i and the gradient g of
// their sums, f_i below means ⟨g, f_i⟩.  B_i, the blended value behind Gaussian i seen with T = 1, gives
//   dL/dα_i = T_i (f_i − B_i),   B_{i−1} = B_i + α_i (f_i − B_i).
#include <omp.h>

#include "blend.hpp"
#include "lanes.hpp"

namespace isk {

namespace {

// scratch.pixels is [BLOCKS, P_COLOR + channels, L]: a block's planes lie side by side (planes of whole tiles
// would be 1 KiB apart, where stores and loads are mistaken for each other).
enum Plane { P_T, P_B, P_QX, P_QY, P_NZ, P_D, P_W, P_M1, P_M2, P_MEDIAN, P_COLOR };

// Lane sums of one Gaussian in one tile; colours follow.  a, b, c: gradients by the numerators of u, v and
// by q; times dx, dy: those by ux … qy.
// clang-format off
enum Sum {
  A_A, A_AX, A_AY, A_B, A_BX, A_BY, A_C, A_CX, A_CY, A_EX, A_EY, A_OPACITY,
  A_NZ, A_D, A_IOTA_DISK, A_IOTA_SCREEN, A_COLOR
};
// clang-format on

constexpr int64_t AHEAD = 8;  // entries to prefetch

struct Upstream {
  const isk_images& g;
  bool iota;  // distortion or median depth have gradients: those of 1/z are needed
};

inline F gather(const float* image, const BlockPixels& p, const isk_scene& s, int width, int channel) {
  alignas(64) float tmp[L] = {};
  if (image)
    for_each_pixel(p, s.width, s.height,
                   [&](int lane, int64_t i) { tmp[lane] = image[i * width + channel]; });
  return load(tmp);
}

// Gradients of the images → gradients of the sums, for one block; adds to the camera's and background's.
void prepare_block(const isk_scene& s, const Upstream& up, const Camera& camera, const float* state,
                   const BlockPixels& p, float* planes, F* camera_sums, F* background_sums) {
  auto saved = [&](State k) { return load(state + k * L); };
  auto put = [&](int plane, F value) { store(planes + plane * L, value); };
  const F t = saved(S_T), nz = saved(S_NZ), d = saved(S_D), fx(s.fx), fy(s.fy);
  const F nx = saved(S_QX) * fx, ny = saved(S_QY) * fy;
  const F weight = F(1.0f) - t, zero(0.0f);
  const F rx = (p.x - F(s.cx)) * F(1.0 / s.fx), ry = (p.y - F(s.cy)) * F(1.0 / s.fy);
  const F cosine = fma(nx, rx, fma(ny, ry, nz));
  const Mask facing = (cosine > weight * F(GRAZING)) & (weight > zero);
  const F g_d = select(facing, gather(up.g.depth, p, s, 1, 0) / cosine, zero);
  const F slope = select(facing, g_d * d / cosine, zero);
  const V3 g_normal = {gather(up.g.normal, p, s, 3, 0), gather(up.g.normal, p, s, 3, 1),
                       gather(up.g.normal, p, s, 3, 2)};
  const V3 g_n = camera.to_camera(g_normal);
  put(P_QX, -(g_n.x + slope * rx) * fx);
  put(P_QY, -(g_n.y + slope * ry) * fy);
  put(P_NZ, -g_n.z - slope);
  put(P_D, g_d);
  const F g[3] = {g_normal.x, g_normal.y, g_normal.z}, n[3] = {nx, ny, nz};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) camera_sums[3 * i + j] -= g[i] * n[j];

  F g_w = gather(up.g.alpha, p, s, 1, 0);
  const F m1 = saved(S_M1), m2 = saved(S_M2);
  const F g_spread = zero_unless(fma(weight, m2, -(m1 * m1)) > zero, gather(up.g.distortion, p, s, 1, 0)) *
                     F(DISTORTION_NEAR * DISTORTION_NEAR);
  put(P_M1, F(-2.0f) * m1 * g_spread);
  put(P_M2, weight * g_spread);
  g_w = fma(m2, g_spread, g_w);
  put(P_MEDIAN, gather(up.g.median_depth, p, s, 1, 0));
  for (int c = 0; c < s.channels; ++c) {
    const F g_color = gather(up.g.color, p, s, s.channels, c);
    put(P_COLOR + c, g_color);
    if (s.background) {
      g_w -= g_color * F(s.background[c]);
      background_sums[c] = fma(g_color, t, background_sums[c]);
    }
  }
  put(P_W, g_w);
  put(P_T, t);
  put(P_B, zero);
}

// Adds one Gaussian's gradients in one block of pixels; returns whether it contributes there.
template <int C, bool IOTA>
__attribute__((always_inline)) inline bool accumulate(const Splat& g, const float* colors, int channels,
                                                      float index, const BlockPixels& p, F inv_near,
                                                      const float* state, float* planes, F* acc) {
  auto plane = [&](int k) { return load(planes + k * L); };
  auto saved = [&](int k) { return load(state + k * L); };
  const Hit h = evaluate(g, p.x, p.y, inv_near);
  const Mask hit = (h.alpha >= F(ALPHA_MIN)) & (F(index) <= saved(S_LAST));
  // No branch on the lanes' outcome: it would be mispredicted at the end of a long chain.
  const F zero(0.0f), t_after = plane(P_T), behind = plane(P_B);
  const F t = t_after / (F(1.0f) - h.alpha);
  F f = plane(P_W);
  f = fma(plane(P_QX), F(g.qx), f);
  f = fma(plane(P_QY), F(g.qy), f);
  f = fma(plane(P_NZ), F(g.nz), f);
  f = fma(plane(P_D), F(g.d), f);
  for (int c = 0; c < channels; ++c) f = fma(plane(P_COLOR + c), F(colors[c]), f);
  const F alpha = zero_unless(hit, h.alpha), weight = alpha * t;
  F iota, m, g_m2;
  if (IOTA) {
    iota = inverse_depth(g, h);
    m = iota - saved(S_REF);
    g_m2 = plane(P_M2);
    f = fma(m, fma(m, g_m2, plane(P_M1)), f);
  }
  const F difference = f - behind;
  store(planes + P_T * L, select(hit, t, t_after));
  store(planes + P_B * L, fma(alpha, difference, behind));

  for (int c = 0; c < channels; ++c) acc[A_COLOR + c] = fma(weight, plane(P_COLOR + c), acc[A_COLOR + c]);
  acc[A_NZ] = fma(weight, plane(P_NZ), acc[A_NZ]);
  acc[A_D] = fma(weight, plane(P_D), acc[A_D]);
  const F g_alpha = zero_unless(hit & (h.alpha < F(ALPHA_MAX)), t * difference);
  acc[A_OPACITY] = fma(g_alpha, h.gauss, acc[A_OPACITY]);

  const F e = g_alpha * h.alpha;  // dL/d log G; rho gets −e/2
  const Mask screen = and_not(hit, h.disk);
  const F scaled = -zero_unless(h.disk, e * h.iq);
  const F a = scaled * h.u, b = scaled * h.v;
  F c = -zero_unless(h.disk, scaled * h.rho);
  if (IOTA) {
    F g_iota = weight * fma(g_m2 * F(2.0f), m, plane(P_M1));
    const Mask median = hit & (saved(S_MEDIAN) == F(index));
    if (any(median)) g_iota -= zero_unless(median, plane(P_MEDIAN) / (iota * iota));
    const F in_disk = zero_unless(h.disk, g_iota);
    acc[A_IOTA_DISK] = fma(in_disk, h.q, acc[A_IOTA_DISK]);
    acc[A_IOTA_SCREEN] += zero_unless(screen, g_iota);
    c = fma(in_disk, F(g.inv_d), c);
  }
  acc[A_A] += a;
  acc[A_AX] = fma(a, h.dx, acc[A_AX]);
  acc[A_AY] = fma(a, h.dy, acc[A_AY]);
  acc[A_B] += b;
  acc[A_BX] = fma(b, h.dx, acc[A_BX]);
  acc[A_BY] = fma(b, h.dy, acc[A_BY]);
  acc[A_C] += c;
  acc[A_CX] = fma(weight, plane(P_QX), fma(c, h.dx, acc[A_CX]));
  acc[A_CY] = fma(weight, plane(P_QY), fma(c, h.dy, acc[A_CY]));
  const F e_screen = zero_unless(screen, e);
  acc[A_EX] = fma(e_screen, h.dx, acc[A_EX]);
  acc[A_EY] = fma(e_screen, h.dy, acc[A_EY]);
  return any(hit);
}

// Lane sums → the row of workspace.hpp.
void write_row(const Splat& g, const isk_scene& s, const F* acc, int channels, float* row) {
  alignas(64) float sum[A_COLOR + 4];
  for (int k = 0; k < A_COLOR + 4; k += 4) sum4(acc + k, sum + k);
  row[R_MX] = LOW_PASS * sum[A_EX] - (g.ux * sum[A_A] + g.vx * sum[A_B] + g.qx * sum[A_C]);
  row[R_MY] = LOW_PASS * sum[A_EY] - (g.uy * sum[A_A] + g.vy * sum[A_B] + g.qy * sum[A_C]);
  row[R_UX] = sum[A_AX];
  row[R_UY] = sum[A_AY];
  row[R_VX] = sum[A_BX];
  row[R_VY] = sum[A_BY];
  row[R_NX] = sum[A_CX] / static_cast<float>(s.fx);
  row[R_NY] = sum[A_CY] / static_cast<float>(s.fy);
  row[R_NZ] = sum[A_NZ];
  row[R_D] = sum[A_D] + sum[A_C] * g.inv_pz - sum[A_IOTA_DISK] * g.inv_d * g.inv_d;
  row[R_PZ] = -g.inv_pz * g.inv_pz * (sum[A_C] * g.d + sum[A_IOTA_SCREEN]);
  row[R_OPACITY] = sum[A_OPACITY];
  for (int c = 0; c < channels && c < 4; ++c) row[R_COLOR + c] = sum[A_COLOR + c];
  for (int c = 4; c < channels; c += 4) {
    float four[4];
    sum4(acc + A_COLOR + c, four);
    for (int k = 0; k < 4 && c + k < channels; ++k) row[R_COLOR + c + k] = four[k];
  }
  for (int c = channels; c < row_stride(channels) - R_COLOR; ++c) row[R_COLOR + c] = 0.0f;
}

// Sums over the lanes of the camera's [9] and the background's [channels] gradients.
void sum_lanes(const F* camera, const F* background, int channels, double* sums) {
  alignas(64) float lanes[L];
  for (int k = 0; k < 9 + channels; ++k) {
    store(lanes, k < 9 ? camera[k] : background[k - 9]);
    sums[k] = 0;
    for (float lane : lanes) sums[k] += lane;
  }
}

// The last contributing entry of each block, −1 for none.
void last_entries(const float* state, float* last) {
  for (int b = 0; b < BLOCKS; ++b) {
    last[b] = -1.0f;
    for (int lane = 0; lane < L; ++lane)
      last[b] = std::max(last[b], state[(b * S_COUNT + S_LAST) * L + lane]);
  }
}

template <int C, bool IOTA>
void backward_tile(Workspace& w, const isk_scene& s, const Upstream& up, const Camera& camera, int tile,
                   Scratch& scratch, double* partials) {
  const int channels = C > 0 ? C : s.channels, stride = record_stride(channels),
            rows_stride = row_stride(channels);
  const int tile_x = tile % w.tiles_x, tile_y = tile / w.tiles_x;
  const uint32_t begin = w.tile_begin[tile], count = w.tile_begin[tile + 1] - begin;
  const float* records = load_records(w, s, tile, channels, scratch);
  const float* state = tile_state(w, tile);
  float* planes = scratch.pixels.reserve(static_cast<size_t>(P_COLOR + channels) * TILE_PIXELS);
  const int num_planes = P_COLOR + channels;
  // acc, padded to whole groups of four, then the background's sums
  const int acc_size = A_COLOR + channels + 4;
  F* wide = reinterpret_cast<F*>(scratch.sums.reserve(static_cast<size_t>(acc_size + channels) * L));
  F* background = wide + acc_size;
  F camera_sums[9];
  for (F& f : camera_sums) f = F(0.0f);
  for (int c = 0; c < channels; ++c) background[c] = F(0.0f);
  for (int b = 0; b < BLOCKS; ++b)
    prepare_block(s, up, camera, state + b * S_COUNT * L, BlockPixels(tile_x, tile_y, b),
                  planes + b * num_planes * L, camera_sums, background);
  sum_lanes(camera_sums, background, channels, partials);
  float last[BLOCKS];
  last_entries(state, last);
  const F inv_near(1.0f / s.near_plane);
  for (int64_t i = static_cast<int64_t>(count) - 1; i >= 0; --i) {
    const Entry& entry = w.entries[begin + i];
    if (i >= AHEAD) {  // rows lie far apart; a store that misses the cache would hold up those after it
      const uint32_t next = w.entries[begin + i - AHEAD].slot;
      __builtin_prefetch(w.rows.data() + static_cast<size_t>(next) * rows_stride, 1);
      __builtin_prefetch(&w.row_used[next], 1);
    }
    const float* record = records + static_cast<size_t>(i) * stride;
    const Splat& g = splat_of(record);
    F fixed[A_COLOR + (C > 0 ? C : 1) + 4];
    F* acc = C > 0 ? fixed : wide;
    for (int k = 0; k < (C > 0 ? A_COLOR + C + 4 : acc_size); ++k) acc[k] = F(0.0f);
    bool used = false;
    const float index = static_cast<float>(i);
    for (uint64_t left = entry.blocks; left; left &= left - 1) {
      const int b = __builtin_ctzll(left);
      if (last[b] < index) continue;
      const BlockPixels p(tile_x, tile_y, b);
      used |= accumulate<C, IOTA>(g, record + 16, channels, index, p, inv_near, state + b * S_COUNT * L,
                                  planes + b * num_planes * L, acc);
    }
    w.row_used[entry.slot] = used;
    if (used) write_row(g, s, acc, channels, w.rows.data() + static_cast<size_t>(entry.slot) * rows_stride);
  }
}

}  // namespace

void backward(Workspace& w, const isk_scene& s, const isk_images& gradients, const isk_gradients& out) {
  const int tiles = w.tiles_x * w.tiles_y, stride = row_stride(s.channels), sums = 9 + s.channels;
  w.rows.reserve(static_cast<size_t>(w.num_entries) * stride + 16);
  w.row_used.reserve(w.num_entries + 1);
  double* partials = w.partials.reserve(static_cast<size_t>(tiles) * sums);
  const Upstream up{gradients, gradients.distortion != nullptr || gradients.median_depth != nullptr};
  const Camera camera(s.world_from_camera);
  bool failed = false;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s.num_threads)
  for (int tile = 0; tile < tiles; ++tile) {
    try {
      Scratch& scratch = w.scratch[omp_get_thread_num()];
      double* tile_partials = partials + static_cast<size_t>(tile) * sums;
      if (s.channels == 3 && up.iota) {
        backward_tile<3, true>(w, s, up, camera, tile, scratch, tile_partials);
      } else if (s.channels == 3) {
        backward_tile<3, false>(w, s, up, camera, tile, scratch, tile_partials);
      } else {
        backward_tile<0, true>(w, s, up, camera, tile, scratch, tile_partials);
      }
    } catch (const std::bad_alloc&) {
#pragma omp atomic write
      failed = true;
    }
  }
  if (failed) throw std::bad_alloc();
  auto total = [&](int k) {
    double sum = 0;
    for (int tile = 0; tile < tiles; ++tile) sum += partials[static_cast<size_t>(tile) * sums + k];
    return static_cast<float>(sum);
  };
  if (out.background)
    for (int c = 0; c < s.channels; ++c) out.background[c] = total(9 + c);
  if (out.camera)
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) out.camera[4 * i + j] = total(3 * i + j);
      out.camera[4 * i + 3] = 0.0f;
    }
  project_backward(w, s, stride, out);
}

}  // namespace isk
