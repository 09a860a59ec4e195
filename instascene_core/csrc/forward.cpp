// Front-to-back blending of one tile after the other; tiles are independent.
#include <omp.h>

#include "blend.hpp"
#include "lanes.hpp"

namespace isk {

namespace {

struct Sums {  // per pixel Σ weight · (…)
  F t, qx, qy, nz, d, m1, m2, ref, last, median, median_depth;
};

// The images of one block from its sums (see rendering/rasterizer.py for their meaning).
void write_block(const isk_scene& s, const isk_images& out, const Camera& camera, const BlockPixels& p,
                 const Sums& a, const F* color, int channels) {
  alignas(64) float tmp[8][L];
  const F weight = F(1.0f) - a.t, zero(0.0f);
  const F rx = (p.x - F(s.cx)) * F(1.0 / s.fx), ry = (p.y - F(s.cy)) * F(1.0 / s.fy);
  const F nx = a.qx * F(s.fx), ny = a.qy * F(s.fy);
  const F cosine = fma(nx, rx, fma(ny, ry, a.nz));
  const Mask facing = (cosine > weight * F(GRAZING)) & (weight > zero);
  const V3 normal = camera.to_world({nx, ny, a.nz});
  store(tmp[0], weight);
  store(tmp[1], select(facing, a.d / cosine, zero));
  store(tmp[2], a.median_depth);
  store(tmp[3], -normal.x);  // the sums point away from the camera
  store(tmp[4], -normal.y);
  store(tmp[5], -normal.z);
  const F spread = fma(weight, a.m2, -(a.m1 * a.m1));
  store(tmp[6], max(spread, zero) * F(DISTORTION_NEAR * DISTORTION_NEAR));
  for_each_pixel(p, s.width, s.height, [&](int lane, int64_t i) {
    out.alpha[i] = tmp[0][lane];
    out.depth[i] = tmp[1][lane];
    out.median_depth[i] = tmp[2][lane];
    for (int k = 0; k < 3; ++k) out.normal[3 * i + k] = tmp[3 + k][lane];
    out.distortion[i] = tmp[6][lane];
  });
  for (int c = 0; c < channels; ++c) {
    store(tmp[0], s.background ? fma(a.t, F(s.background[c]), color[c]) : color[c]);
    for_each_pixel(p, s.width, s.height,
                   [&](int lane, int64_t i) { out.color[i * channels + c] = tmp[0][lane]; });
  }
}

// C > 0: channels known to the compiler, their sums stay in registers; C = 0: any number, in `wide`.
template <int C>
Sums blend_block(const isk_scene& s, const float* records, const uint32_t* list, uint32_t length,
                 const BlockPixels& p, F* wide) {
  const int channels = C > 0 ? C : s.channels, stride = record_stride(channels);
  const F inv_near(1.0f / s.near_plane), zero(0.0f), px = p.x, py = p.y;
  F fixed[C > 0 ? C : 1];
  F* color = C > 0 ? fixed : wide;
  for (int c = 0; c < channels; ++c) color[c] = zero;
  F t(1.0f), qx = zero, qy = zero, nz = zero, d = zero, m1 = zero, m2 = zero, ref = zero;
  F last(-1.0f), median(-1.0f), median_iota = zero;
  Mask live = (px < F(static_cast<float>(s.width))) & (py < F(static_cast<float>(s.height)));
  for (uint32_t k = 0; k < length; ++k) {
    const uint32_t i = list[k];
    const float* record = records + static_cast<size_t>(i) * stride;
    const Splat& g = splat_of(record);
    const Hit h = evaluate(g, px, py, inv_near);
    // No branch on the lanes' outcome: it would be mispredicted at the end of a long chain.
    Mask hit = live & (h.alpha >= F(ALPHA_MIN));
    const F weight_if = h.alpha * t, next = t - weight_if;
    const Mask done = hit & (next < F(TRANSMITTANCE_MIN));
    hit = and_not(hit, done);
    const F weight = zero_unless(hit, weight_if);
    for (int c = 0; c < channels; ++c) color[c] = fma(weight, F(record[16 + c]), color[c]);
    qx = fma(weight, F(g.qx), qx);
    qy = fma(weight, F(g.qy), qy);
    nz = fma(weight, F(g.nz), nz);
    d = fma(weight, F(g.d), d);
    const F iota = inverse_depth(g, h), index(static_cast<float>(i));
    ref = select(hit & (last < zero), iota, ref);  // the first hit, against cancellation in m2
    const F m = iota - ref, wm = weight * m;
    m1 += wm;
    m2 = fma(wm, m, m2);
    const Mask crossing = hit & (t > F(0.5f)) & (next <= F(0.5f));
    median = select(crossing, index, median);
    median_iota = select(crossing, iota, median_iota);
    last = select(hit, index, last);
    t = select(hit, next, t);
    if (any(done)) {
      live = and_not(live, done);
      if (!any(live)) break;
    }
  }
  if (C > 0)
    for (int c = 0; c < channels; ++c) wide[c] = color[c];
  const F median_depth = select(median >= zero, F(1.0f) / median_iota, zero);
  return {t, qx, qy, nz, d, m1, m2, ref, last, median, median_depth};
}

template <int C>
void forward_tile(Workspace& w, const isk_scene& s, const isk_images& out, const Camera& camera, int tile,
                  Scratch& scratch) {
  const int channels = s.channels, tile_x = tile % w.tiles_x, tile_y = tile / w.tiles_x;
  const float* records = load_records(w, s, tile, channels, scratch);
  const uint32_t count = w.tile_begin[tile + 1] - w.tile_begin[tile];
  uint32_t lengths[BLOCKS];
  const uint32_t* lists = block_lists(w, tile, scratch, lengths);
  F* wide = reinterpret_cast<F*>(scratch.sums.reserve(static_cast<size_t>(channels) * L + L));
  float* state = tile_state(w, tile);
  for (int b = 0; b < BLOCKS; ++b) {
    const BlockPixels p(tile_x, tile_y, b);
    const Sums a = blend_block<C>(s, records, lists + static_cast<size_t>(b) * count, lengths[b], p, wide);
    write_block(s, out, camera, p, a, wide, channels);
    const F* sums[S_COUNT] = {&a.t, &a.qx, &a.qy, &a.nz, &a.d, &a.m1, &a.m2, &a.ref, &a.last, &a.median};
    for (int k = 0; k < S_COUNT; ++k) store(state + (b * S_COUNT + k) * L, *sums[k]);
  }
}

}  // namespace

void forward(Workspace& w, const isk_scene& s, const isk_images& out) {
  project(w, s);
  bin(w, s);
  const int tiles = w.tiles_x * w.tiles_y;
  w.state.reserve(static_cast<size_t>(tiles) * S_COUNT * TILE_PIXELS);
  const Camera camera(s.world_from_camera);
  bool failed = false;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s.num_threads)
  for (int tile = 0; tile < tiles; ++tile) {
    try {
      Scratch& scratch = w.scratch[omp_get_thread_num()];
      if (s.channels == 3) {
        forward_tile<3>(w, s, out, camera, tile, scratch);
      } else {
        forward_tile<0>(w, s, out, camera, tile, scratch);
      }
    } catch (const std::bad_alloc&) {
#pragma omp atomic write
      failed = true;
    }
  }
  if (failed) throw std::bad_alloc();
}

}  // namespace isk
