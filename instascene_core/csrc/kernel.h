/* The C interface of the 2D Gaussian Splatting kernel; Python reaches it through ctypes.
 *
 * Arrays are float32, row-major and contiguous; camera axes are OpenCV; pixel centres lie at
 * (0.5, 0.5).  Any function may be called from several threads as long as each has its own workspace.
 * Functions return 0, or 1 when memory ran out.
 */
#ifndef INSTASCENE_KERNEL_H
#define INSTASCENE_KERNEL_H

#include <stdint.h>

#define ISK_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t num_gaussians, channels, width, height, num_threads;
  double fx, fy, cx, cy;        /* pixels */
  float near_plane;             /* metres */
  float world_from_camera[12];  /* upper three rows */
  const float* means;           /* [N, 3] */
  const float* quaternions;     /* [N, 4] wxyz */
  const float* log_scales;      /* [N, 2] */
  const float* logit_opacities; /* [N] */
  const float* colors;          /* [N, C], may be NULL for trace */
  const float* background;      /* [C] or NULL for black */
} isk_scene;

/* Output of isk_forward and, with the same shapes, gradients given to isk_backward (NULL = zero). */
typedef struct {
  float* color;        /* [H, W, C] */
  float* alpha;        /* [H, W] */
  float* depth;        /* [H, W] */
  float* median_depth; /* [H, W] */
  float* normal;       /* [H, W, 3] */
  float* distortion;   /* [H, W] */
} isk_images;

/* Written by isk_backward; camera and background may be NULL. */
typedef struct {
  float *means, *quaternions, *log_scales, *logit_opacities, *colors;
  float* screen;     /* [N] norm of the gradient by the projected mean, per pixel; may be NULL */
  float* camera;     /* [12] */
  float* background; /* [C] */
} isk_gradients;

ISK_API const char* isk_instruction_set(void);
ISK_API int isk_lanes(void);

ISK_API void* isk_workspace_new(void);
ISK_API void isk_workspace_free(void* workspace);
ISK_API int64_t isk_workspace_bytes(const void* workspace);
ISK_API int64_t isk_workspace_pairs(const void* workspace); /* Gaussian × tile pairs of the last view */

ISK_API int isk_forward(void* workspace, const isk_scene* scene, const isk_images* images);
/* Needs the workspace and the scene of the isk_forward call it belongs to. */
ISK_API int isk_backward(void* workspace, const isk_scene* scene, const isk_images* gradients,
                         const isk_gradients* out);
/* visible [N] uint8: 1 where the Gaussian reaches at least one block of pixels in the last view. */
ISK_API void isk_visible(const void* workspace, const isk_scene* scene, uint8_t* visible);

/* Two calls: count fills offsets [H*W+1]; write then fills the arrays of length offsets[H*W]. */
ISK_API int isk_trace_count(void* workspace, const isk_scene* scene, float transmittance_min,
                            float weight_min, int64_t* offsets);
ISK_API int isk_trace_write(void* workspace, const isk_scene* scene, float transmittance_min,
                            float weight_min, const int64_t* offsets, int32_t* indices, float* weights,
                            float* transmittance);

/* colors [N, 3] = max(0, 0.5 + sh·Y(mean − camera)); sh [N, coefficients, 3], camera [3] the position. */
ISK_API int isk_sh_forward(int64_t n, int32_t coefficients, int32_t degree, int32_t num_threads,
                           const float* means, const float* camera, const float* sh, float* colors);
/* Adds to g_means [N, 3] and g_camera [3] (may be NULL), overwrites g_sh. */
ISK_API int isk_sh_backward(int64_t n, int32_t coefficients, int32_t degree, int32_t num_threads,
                            const float* means, const float* camera, const float* sh, const float* colors,
                            const float* g_colors, float* g_sh, float* g_means, float* g_camera);

/* Losses write their value to *loss and their gradients at once.
 * photometric: (1 − w)·L1 + w·(1 − SSIM) of image and target [H, W, C], mean over the pixels valid [H, W]
 * (NULL: all); overwrites gradient [H, W, C] unless it is NULL. */
ISK_API int isk_photometric(const float* image, const float* target, const uint8_t* valid, int32_t width,
                            int32_t height, int32_t channels, float ssim_weight, int32_t num_threads,
                            float* gradient, double* loss);
/* weight · mean(alpha − normal·N) with N the normal of the depth image (2DGS eq. 14); adds to the gradients.
 * camera: fx fy cx cy in pixels; world_from_camera [12]. */
ISK_API int isk_normal_consistency(int32_t width, int32_t height, const double* camera,
                                   const float* world_from_camera, const float* normal, const float* depth,
                                   const float* alpha, float weight, int32_t num_threads, float* g_normal,
                                   float* g_depth, float* g_alpha, double* loss);
/* weight · mean(trust · e / (e + tolerance)), e = relative error where measured > 0; adds to g_depth */
ISK_API int isk_robust_depth(int64_t pixels, const float* depth, const float* measured, const float* trust,
                             float tolerance, float weight, int32_t num_threads, float* g_depth,
                             double* loss);
/* One step of Adam on [rows, width]; chosen [rows] limits it to some rows (NULL: all).
 * correction = 1 − beta^step. */
ISK_API int isk_adam(int64_t rows, int32_t width, float* parameter, const float* gradient, float* mean,
                     float* square, const uint8_t* chosen, float rate, float beta1, float beta2,
                     float epsilon, float correction1, float correction2, int32_t num_threads);

/* Another view that a reference is compared with. */
typedef struct {
  int32_t width, height;
  const float* image;    /* [height, width] grey, 0 … 255; below 0: the image shows nothing there */
  double from_pixel[12]; /* [3, 4]: (u, v, 1, inverse depth) of the reference -> homogeneous pixel here */
} isk_stereo_source;

typedef struct {
  int32_t width, height, num_sources, num_threads;
  int32_t iterations, spacing; /* of the window's taps, pixels */
  uint32_t seed;
  float grey_sigma;                 /* grey levels: how fast other greys than the middle's lose weight */
  float least_variance;             /* grey levels squared: flatter windows say nothing */
  float nearest, farthest;          /* inverse depths, the greater one first */
  float least_cosine;               /* between ray and normal */
  float draw_depth, draw_tilt;      /* of planes drawn in the first iteration, relative */
  double fx, fy, cx, cy;            /* pixels */
  const float* image;               /* [H, W] grey, like the sources' */
  const isk_stereo_source* sources; /* [num_sources] */
} isk_stereo;

/* planes [3, H, W]: inverse depth and its slopes per pixel right and down, improved in place;
 * costs [H, W]: 1 - NCC of the views that agree best, 1 where nothing can be compared. */
ISK_API int isk_patch_match(const isk_stereo* stereo, float* planes, float* costs);

/* Gaussians and their neighbours, both ways. */
typedef struct {
  int32_t nodes;
  const int32_t* begin;      /* [nodes + 1]: where the neighbours of each begin */
  const int32_t* neighbours; /* [begin[nodes]] */
} isk_graph;

/* levels [nodes]: the highest threshold >= floor that still connects a node to `seed` through nodes whose
 * values [nodes] reach it; -inf where there is none.  The seed is connected at every threshold. */
ISK_API int isk_widest_levels(const isk_graph* graph, const float* values, int32_t seed, float floor,
                              float* levels);

/* chosen [nodes], in place: a round adds those allowed nodes most of whose allowed neighbours are chosen. */
ISK_API int isk_enclose(const isk_graph* graph, const uint8_t* allowed, int32_t rounds, uint8_t* chosen);

/* A posed depth image, cut to what a grid of voxels can project to. */
typedef struct {
  int32_t width, height;
  double band, truncation;        /* metres, see geometry/tsdf.py */
  float steps[9], start[3];       /* homogeneous pixel = start + steps [3, 3] · (i, j, k) */
  const float* depth;             /* [H, W] metres, 0 = none */
  const float* carve;             /* [H, W] metres: rays make free what lies before it */
  const float *slope_u, *slope_v; /* [H, W] metres per pixel */
  const uint8_t* what;            /* [H, W] 1 the target, 2 something else, 4 unowned; others only carve */
  const uint8_t* rgb;             /* [H, W, 3] */
  const float* weight;            /* [H, W], NULL: 1 */
} isk_depth_view;

/* Sums over views; arrays [nx, ny, nz], color [nx, ny, nz, 3]. */
typedef struct {
  int32_t nx, ny, nz;
  float *distance, *weight, *other_distance, *other_views, *color;
  int16_t *views, *free_views;
} isk_voxel_sums;

/* Adds a view to the sums. */
ISK_API int isk_fuse_depth(const isk_depth_view* view, const isk_voxel_sums* sums);

/* "avx512", "avx2" or "baseline": the best that this processor and its system run. */
ISK_API const char* isk_best_instruction_set(void);

#ifdef __cplusplus
}
#endif
#endif
