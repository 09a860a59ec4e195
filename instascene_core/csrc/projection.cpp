// Disks to splats: the ray-disk intersection as three linear functions of the pixel (2DGS, section 4.2).
#include <cmath>

#include "lanes.hpp"
#include "workspace.hpp"

namespace isk {

namespace {

// Camera-frame quantities shared by the forward and the backward pass.
struct View {
  D3 p, tu, tv;
  D3 n;  // away from the camera, so that d ≥ 0
  D d, inv_pz;
  F sign;
  Mask edge_on;
};

View view_of(const Disk& disk, const Camera& camera) {
  View v;
  v.p = camera.to_camera(disk.offset);
  v.tu = camera.to_camera(disk.tu);
  v.tv = camera.to_camera(disk.tv);
  v.n = camera.to_camera(disk.n);
  const D plane = dot(v.n, v.p);
  v.sign = select(narrow(plane) >= F(0.0f), F(1.0f), F(-1.0f));
  const D sign = widen(v.sign);
  v.n = {v.n.x * sign, v.n.y * sign, v.n.z * sign};
  v.d = plane * sign;
  v.edge_on = narrow(v.d) < F(EDGE_ON);
  v.inv_pz = 1.0 / v.p.z;
  return v;
}

// To whole pixels, where rounding works; projections farther out need no such care.
F round_pixel(F x) { return select((x < F(1e6f)) & (x > F(-1e6f)), round_nearest(x), x); }

void store_extents(const View& v, const Disk& disk, const isk_scene& s, Mask visible, Extent* out,
                   int lanes) {
  // r² where opacity · exp(−r² / 2) falls to ALPHA_MIN, a little enlarged against rounding.
  alignas(64) float r2[L], columns[8][L];
  store(r2, disk.opacity);
  for (int i = 0; i < L; ++i) r2[i] = r2[i] > ALPHA_MIN ? 2.0f * std::log(r2[i] / ALPHA_MIN) + 1e-4f : 1e-4f;
  const F radius2 = load(r2), radius = sqrt(radius2);
  const V3 a = narrow(v.tu) * (radius * disk.su), b = narrow(v.tv) * (radius * disk.sv);
  const F rx = narrow(v.p.x * v.inv_pz), ry = narrow(v.p.y * v.inv_pz), pz = narrow(v.p.z);
  const F ax = F(s.fx) * (a.x - rx * a.z), bx = F(s.fx) * (b.x - rx * b.z);
  const F ay = F(s.fy) * (a.y - ry * a.z), by = F(s.fy) * (b.y - ry * b.z);
  // Dual conic of the projected disk: its determinant part must stay clear of the camera plane.
  const F depth2 = pz * pz, clear = depth2 - fma(a.z, a.z, b.z * b.z);
  const Mask bounded = clear > F(1e-3f) * depth2;
  const F k = F(1.0f) / select(bounded, clear, F(1.0f));
  const F cx = -fma(ax, a.z, bx * b.z) * k, cy = -fma(ay, a.z, by * b.z) * k;
  store(columns[0], cx);
  store(columns[1], cy);
  store(columns[2], fma(cx, cx, fma(ax, ax, bx * bx) * k));
  store(columns[3], fma(cx, cy, fma(ax, ay, bx * by) * k));
  store(columns[4], select(bounded, fma(cy, cy, fma(ay, ay, by * by) * k), F(-1.0f)));
  store(columns[5], radius2 * F(1.0f / LOW_PASS));
  store(columns[6], select(visible, pz, F(-1.0f)));
  store(columns[7], F(0.0f));
  for (int i = 0; i < lanes; ++i)
    for (int c = 0; c < 8; ++c) (&out[i].cx)[c] = columns[c][i];
}

}  // namespace

void project(Workspace& w, const isk_scene& s) {
  const int64_t n = s.num_gaussians;
  Splat* splats = w.splats.reserve(n);
  Extent* extents = w.extents.reserve(n);
  const Camera camera(s.world_from_camera);
#pragma omp parallel for schedule(static) num_threads(s.num_threads)
  for (int64_t first = 0; first < n; first += L) {
    const Disk disk = load_disks(s.means, s.quaternions, s.log_scales, s.logit_opacities, camera, first, n);
    const View v = view_of(disk, camera);
    const V3 u = narrow(cross(v.tv, v.p)) * (F(1.0f) / disk.su);
    const V3 q = narrow(cross(v.p, v.tu)) * (F(1.0f) / disk.sv);
    const V3 away = narrow(v.n);
    const F zero(0.0f), ix(1.0 / s.fx), iy(1.0 / s.fy);
    F c[16];
    const D mx = v.p.x * v.inv_pz * s.fx + s.cx;
    const D my = v.p.y * v.inv_pz * s.fy + s.cy;
    c[0] = round_pixel(narrow(mx));
    c[1] = round_pixel(narrow(my));
    c[2] = narrow(mx - widen(c[0]));
    c[3] = narrow(my - widen(c[1]));
    c[4] = u.x * ix, c[5] = u.y * iy;
    c[6] = q.x * ix, c[7] = q.y * iy;
    c[8] = select(v.edge_on, F(-1e30f), narrow(v.d * v.inv_pz));  // q < 0: the screen filter alone
    c[9] = away.x * ix, c[10] = away.y * iy;
    c[11] = disk.opacity;
    c[12] = select(v.edge_on, zero, narrow(1.0 / v.d));
    c[13] = narrow(v.inv_pz);
    c[14] = away.z, c[15] = narrow(v.d);
    F sum = c[0];
    for (int k = 1; k < 16; ++k) sum += k == 8 ? zero : c[k] * F(1e-8f);
    const Mask finite = (sum - sum) == zero;  // false for NaN and infinity
    const Mask visible =
        (narrow(v.p.z) > F(s.near_plane)) & (disk.opacity >= F(ALPHA_MIN)) & finite & disk.finite;
    const int lanes = n - first < L ? static_cast<int>(n - first) : L;
    alignas(64) float columns[16][L];
    for (int k = 0; k < 16; ++k) store(columns[k], c[k]);
    for (int i = 0; i < lanes; ++i)
      for (int k = 0; k < 16; ++k) (&splats[first + i].mx)[k] = columns[k][i];
    store_extents(v, disk, s, visible, extents + first, lanes);
  }
}

namespace {

// dL/dq [4] of the raw quaternion from dL/d(columns of the rotation).
void quaternion_gradient(const Disk& d, V3 gu, V3 gv, V3 gn, F* out) {
  const F w = narrow(d.qw), x = narrow(d.qx), y = narrow(d.qy), z = narrow(d.qz), two(2.0f);
  const F inv_norm = narrow(d.inv_norm);
  const F gw = two * (z * (gu.y - gv.x) + y * (gn.x - gu.z) + x * (gv.z - gn.y));
  const F gx = two * (y * (gu.y + gv.x) + z * (gu.z + gn.x) + w * (gv.z - gn.y) - two * x * (gv.y + gn.z));
  const F gy = two * (x * (gu.y + gv.x) + z * (gv.z + gn.y) + w * (gn.x - gu.z) - two * y * (gu.x + gn.z));
  const F gz = two * (x * (gu.z + gn.x) + y * (gv.z + gn.y) + w * (gu.y - gv.x) - two * z * (gu.x + gv.y));
  const F along = gw * w + gx * x + gy * y + gz * z;
  out[0] = (gw - along * w) * inv_norm;
  out[1] = (gx - along * x) * inv_norm;
  out[2] = (gy - along * y) * inv_norm;
  out[3] = (gz - along * z) * inv_norm;
}

// Sums of the rows of L Gaussians, as columns; Gaussians out of view get zeros.
void gather_rows(const Workspace& w, const isk_scene& s, int stride, int64_t first, float* color_gradients,
                 F* columns) {
  alignas(64) float tmp[12][L];
  alignas(64) float sum[16];
  std::vector<float> wide;
  for (int lane = 0; lane < L; ++lane) {
    const int64_t g = first + lane;
    if (g >= s.num_gaussians) {
      for (int k = 0; k < 12; ++k) tmp[k][lane] = 0.0f;
      continue;
    }
    float* total = sum;
    if (stride > 16) {
      wide.resize(stride);
      total = wide.data();
    }
    for (int k = 0; k < stride; ++k) total[k] = 0.0f;
    if (g + L < s.num_gaussians) {
      const uint32_t next = w.slots[g + L].begin;
      __builtin_prefetch(w.rows.data() + static_cast<size_t>(next) * stride);
      __builtin_prefetch(w.rows.data() + static_cast<size_t>(next + 1) * stride);
      __builtin_prefetch(&w.row_used[next]);
    }
    for (uint32_t slot = w.slots[g].begin; slot < w.slots[g].end; ++slot) {
      if (!w.row_used[slot]) continue;
      const float* row = w.rows.data() + static_cast<size_t>(slot) * stride;
      for (int k = 0; k < stride; ++k) total[k] += row[k];
    }
    for (int k = 0; k < 12; ++k) tmp[k][lane] = total[k];
    for (int c = 0; c < s.channels; ++c) color_gradients[g * s.channels + c] = total[R_COLOR + c];
  }
  for (int k = 0; k < 12; ++k) columns[k] = load(tmp[k]);
}

// Gradients by the disk in the world frame.
struct DiskGradient {
  V3 mean, tu, tv, n;
  F log_scales[2], logit;
};

// Adds x ⊗ g, the gradient by a rotation of x_camera = Rᵀ x, and −g of the position to `pose` [12].
void add_pose_gradient(const Disk& disk, const V3* camera_frame, V3 g_mean, Mask used, F* pose) {
  const V3 source[4] = {narrow(disk.offset), narrow(disk.tu), narrow(disk.tv), narrow(disk.n)};
  for (int k = 0; k < 4; ++k) {
    const F x[3] = {source[k].x, source[k].y, source[k].z};
    for (int i = 0; i < 3; ++i) {
      pose[4 * i] += zero_unless(used, x[i]) * camera_frame[k].x;
      pose[4 * i + 1] += zero_unless(used, x[i]) * camera_frame[k].y;
      pose[4 * i + 2] += zero_unless(used, x[i]) * camera_frame[k].z;
    }
  }
  pose[3] -= g_mean.x;
  pose[7] -= g_mean.y;
  pose[11] -= g_mean.z;
}

// From the gradients g [12] by the splats of L disks (columns of workspace.hpp); adds to `pose` [12].
DiskGradient disk_gradient(const isk_scene& s, const Camera& camera, const Disk& disk, Mask used,
                           const View& v, const F* g, F* pose) {
  const F ix(1.0 / s.fx), iy(1.0 / s.fy), zero(0.0f);
  const F isu = F(1.0f) / disk.su, isv = F(1.0f) / disk.sv;
  const V3 p = narrow(v.p), tu = narrow(v.tu), tv = narrow(v.tv), n_away = narrow(v.n);
  const F inv_pz = narrow(v.inv_pz);
  const V3 cu = narrow(cross(v.tv, v.p)) * isu, cv = narrow(cross(v.p, v.tu)) * isv;
  const V3 a = {g[R_UX] * ix * isu, g[R_UY] * iy * isu, zero};
  const V3 b = {g[R_VX] * ix * isv, g[R_VY] * iy * isv, zero};
  V3 g_tv = cross(p, a), g_tu = cross(b, p);
  V3 g_n = {g[R_NX], g[R_NY], g[R_NZ]};
  V3 g_p = cross(a, tv) + cross(tu, b) + n_away * g[R_D];
  g_n = (g_n + p * g[R_D]) * v.sign;
  const F gx = g[R_MX] * F(s.fx) * inv_pz, gy = g[R_MY] * F(s.fy) * inv_pz;
  g_p.x += gx;
  g_p.y += gy;
  g_p.z += g[R_PZ] - (gx * p.x + gy * p.y) * inv_pz;
  V3 parts[4] = {g_p, g_tu, g_tv, g_n};
  for (V3& part : parts)
    part = {zero_unless(used, part.x), zero_unless(used, part.y), zero_unless(used, part.z)};
  DiskGradient out = {camera.to_world(parts[0]),
                      camera.to_world(parts[1]),
                      camera.to_world(parts[2]),
                      camera.to_world(parts[3]),
                      {zero, zero},
                      zero};
  add_pose_gradient(disk, parts, out.mean, used, pose);
  // U ∝ 1 / su: the logarithm's gradient is −g·U.
  out.log_scales[0] = zero_unless(used, -(g[R_UX] * cu.x * ix + g[R_UY] * cu.y * iy));
  out.log_scales[1] = zero_unless(used, -(g[R_VX] * cv.x * ix + g[R_VY] * cv.y * iy));
  out.logit = zero_unless(used, g[R_OPACITY] * disk.opacity * disk.clear);
  return out;
}

// Writes the gradients of the Gaussians `first` … `first` + L; adds to `pose` [12].
void project_backward_lanes(const Workspace& w, const isk_scene& s, const Camera& camera, int stride,
                            int64_t first, const isk_gradients& out, F* pose) {
  const int64_t n = s.num_gaussians;
  F g[12];
  gather_rows(w, s, stride, first, out.colors, g);
  const Disk disk = load_disks(s.means, s.quaternions, s.log_scales, s.logit_opacities, camera, first, n);
  const View v = view_of(disk, camera);
  const Mask used = (narrow(v.p.z) > F(s.near_plane)) & (disk.opacity >= F(ALPHA_MIN)) & disk.finite;
  const DiskGradient found = disk_gradient(s, camera, disk, used, v, g, pose);
  F column[4] = {found.mean.x, found.mean.y, found.mean.z, F(0.0f)};
  store_rows<3>(out.means, first, n, column);
  quaternion_gradient(disk, found.tu, found.tv, found.n, column);
  for (F& f : column) f = zero_unless(used, f);
  store_rows<4>(out.quaternions, first, n, column);
  store_rows<2>(out.log_scales, first, n, found.log_scales);
  store_rows<1>(out.logit_opacities, first, n, &found.logit);
  if (out.screen) {
    const F norm = sqrt(fma(g[R_MX], g[R_MX], g[R_MY] * g[R_MY]));
    store_rows<1>(out.screen, first, n, &norm);
  }
}

}  // namespace

void project_backward(Workspace& w, const isk_scene& s, int stride, const isk_gradients& out) {
  const int64_t n = s.num_gaussians;
  const Camera camera(s.world_from_camera);
  Slots* slots = w.slots.reserve(n);
#pragma omp parallel num_threads(s.num_threads)
  {
#pragma omp for schedule(static)
    for (int64_t g = 0; g < n; ++g) slots[g] = {0, 0};
#pragma omp for schedule(static)
    for (uint32_t rank = 0; rank < w.num_visible; ++rank)
      slots[w.order[rank]] = {w.segments[rank], w.segments[rank + 1]};
  }
  constexpr int64_t CHUNK = 1024;  // fixed, so that the camera's sums do not depend on the threads
  const int64_t chunks = (n + CHUNK - 1) / CHUNK;
  double* partials = w.partials.reserve(chunks * 12 + 1);

#pragma omp parallel for schedule(dynamic, 1) num_threads(s.num_threads)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    F pose[12];
    for (int k = 0; k < 12; ++k) pose[k] = F(0.0f);
    const int64_t end = (chunk + 1) * CHUNK < n ? (chunk + 1) * CHUNK : n;
    for (int64_t first = chunk * CHUNK; first < end; first += L)
      project_backward_lanes(w, s, camera, stride, first, out, pose);
    for (int k = 0; k < 12; ++k) {
      alignas(64) float lanes[L];
      store(lanes, pose[k]);
      double total = 0;
      for (float lane : lanes) total += lane;
      partials[chunk * 12 + k] = total;
    }
  }
  if (!out.camera) return;
  for (int k = 0; k < 12; ++k) {
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) total += partials[chunk * 12 + k];
    out.camera[k] += static_cast<float>(total);  // the caller has put the per-pixel part there
  }
}

}  // namespace isk
