// The C functions of kernel.h: no exception leaves the library.
#include <new>

#include "depth_fusion.hpp"
#include "kernel.h"
#include "losses.hpp"
#include "patch_match.hpp"
#include "surface_graph.hpp"
#include "workspace.hpp"

namespace isk {
void forward(Workspace& w, const isk_scene& s, const isk_images& out);
void backward(Workspace& w, const isk_scene& s, const isk_images& gradients, const isk_gradients& out);
void trace_count(Workspace& w, const isk_scene& s, float t_min, float w_min, int64_t* offsets);
void trace_write(Workspace& w, const isk_scene& s, float t_min, float w_min, const int64_t* offsets,
                 int32_t* indices, float* weights, float* transmittance);
void sh_forward(int64_t n, int coefficients, int degree, int threads, const float* means, const float* camera,
                const float* sh, float* colors);
void sh_backward(int64_t n, int coefficients, int degree, int threads, const float* means,
                 const float* camera, const float* sh, const float* colors, const float* g_colors,
                 float* g_sh, float* g_means, float* g_camera);
}  // namespace isk

namespace {

isk::Workspace& of(void* workspace) { return *static_cast<isk::Workspace*>(workspace); }
const isk::Workspace& of(const void* workspace) { return *static_cast<const isk::Workspace*>(workspace); }

template <class Work>
int guarded(Work work) {
  try {
    work();
    return 0;
  } catch (...) {
    return 1;
  }
}

}  // namespace

extern "C" {

const char* isk_instruction_set(void) {
#if defined(__AVX512F__)
  return "avx512";
#elif defined(__AVX2__)
  return "avx2";
#else
  return "baseline";
#endif
}

int isk_lanes(void) { return isk::L; }

void* isk_workspace_new(void) { return new (std::nothrow) isk::Workspace; }

void isk_workspace_free(void* workspace) { delete static_cast<isk::Workspace*>(workspace); }

int64_t isk_workspace_pairs(const void* workspace) { return of(workspace).num_entries; }

int64_t isk_workspace_bytes(const void* workspace) {
  const isk::Workspace& w = of(workspace);
  size_t total = w.splats.bytes() + w.extents.bytes() + w.order.bytes() + w.order_tmp.bytes() +
                 w.keys.bytes() + w.keys_tmp.bytes() + w.segments.bytes() + w.entries.bytes() +
                 w.tile_begin.bytes() + w.state.bytes() + w.rows.bytes() + w.row_used.bytes() +
                 w.partials.bytes();
  for (const isk::Scratch& s : w.scratch)
    total += s.records.bytes() + s.pixels.bytes() + s.sums.bytes() + s.lists.bytes() + s.pairs.bytes();
  return static_cast<int64_t>(total);
}

int isk_forward(void* workspace, const isk_scene* scene, const isk_images* images) {
  return guarded([&] { isk::forward(of(workspace), *scene, *images); });
}

int isk_backward(void* workspace, const isk_scene* scene, const isk_images* gradients,
                 const isk_gradients* out) {
  return guarded([&] { isk::backward(of(workspace), *scene, *gradients, *out); });
}

void isk_visible(const void* workspace, const isk_scene* scene, uint8_t* visible) {
  const isk::Workspace& w = of(workspace);
  for (int64_t g = 0; g < scene->num_gaussians; ++g) visible[g] = 0;
  for (uint32_t rank = 0; rank < w.num_visible; ++rank)
    visible[w.order[rank]] = w.segments[rank + 1] > w.segments[rank];
}

int isk_trace_count(void* workspace, const isk_scene* scene, float transmittance_min, float weight_min,
                    int64_t* offsets) {
  return guarded([&] { isk::trace_count(of(workspace), *scene, transmittance_min, weight_min, offsets); });
}

int isk_trace_write(void* workspace, const isk_scene* scene, float transmittance_min, float weight_min,
                    const int64_t* offsets, int32_t* indices, float* weights, float* transmittance) {
  return guarded([&] {
    isk::trace_write(of(workspace), *scene, transmittance_min, weight_min, offsets, indices, weights,
                     transmittance);
  });
}

int isk_sh_forward(int64_t n, int32_t coefficients, int32_t degree, int32_t threads, const float* means,
                   const float* camera, const float* sh, float* colors) {
  return guarded([&] { isk::sh_forward(n, coefficients, degree, threads, means, camera, sh, colors); });
}

int isk_sh_backward(int64_t n, int32_t coefficients, int32_t degree, int32_t threads, const float* means,
                    const float* camera, const float* sh, const float* colors, const float* g_colors,
                    float* g_sh, float* g_means, float* g_camera) {
  return guarded([&] {
    isk::sh_backward(n, coefficients, degree, threads, means, camera, sh, colors, g_colors, g_sh, g_means,
                     g_camera);
  });
}

int isk_photometric(const float* image, const float* target, const uint8_t* valid, int32_t width,
                    int32_t height, int32_t channels, float ssim_weight, int32_t threads, float* gradient,
                    double* loss) {
  return guarded([&] {
    *loss = isk::photometric(image, target, valid, width, height, channels, ssim_weight, threads, gradient);
  });
}

int isk_normal_consistency(int32_t width, int32_t height, const double* camera,
                           const float* world_from_camera, const float* normal, const float* depth,
                           const float* alpha, float weight, int32_t threads, float* g_normal, float* g_depth,
                           float* g_alpha, double* loss) {
  const isk::Geometry geometry{width, height, camera[0], camera[1], camera[2], camera[3], world_from_camera};
  return guarded([&] {
    *loss =
        isk::normal_consistency(geometry, normal, depth, alpha, weight, threads, g_normal, g_depth, g_alpha);
  });
}

int isk_robust_depth(int64_t pixels, const float* depth, const float* measured, const float* trust,
                     float tolerance, float weight, int32_t threads, float* g_depth, double* loss) {
  return guarded([&] {
    *loss = isk::robust_depth(pixels, depth, measured, trust, tolerance, weight, threads, g_depth);
  });
}

int isk_adam(int64_t rows, int32_t width, float* parameter, const float* gradient, float* mean, float* square,
             const uint8_t* chosen, float rate, float beta1, float beta2, float epsilon, float correction1,
             float correction2, int32_t threads) {
  return guarded([&] {
    isk::adam(rows, width, parameter, gradient, mean, square, chosen, rate, beta1, beta2, epsilon,
              correction1, correction2, threads);
  });
}

int isk_fuse_depth(const isk_depth_view* view, const isk_voxel_sums* sums) {
  return guarded([&] { isk::fuse_depth(*view, *sums); });
}

int isk_patch_match(const isk_stereo* stereo, float* planes, float* costs) {
  return guarded([&] { isk::patch_match(*stereo, planes, costs); });
}

int isk_widest_levels(const isk_graph* graph, const float* values, int32_t seed, float floor, float* levels) {
  return guarded([&] { isk::widest_levels(*graph, values, seed, floor, levels); });
}

int isk_enclose(const isk_graph* graph, const uint8_t* allowed, int32_t rounds, uint8_t* chosen) {
  return guarded([&] { isk::enclose(*graph, allowed, rounds, chosen); });
}

const char* isk_best_instruction_set(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("fma"))
    return "avx512";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return "avx2";
#endif
  return "baseline";
}

}  // extern "C"
