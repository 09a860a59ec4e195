"""A picture sheet of generated colours, docs/images/generated.png: `python -m benchmarks.generation_sheet`.

Six bodies of `benchmarks.generation`, a row each: one of the four images given, the 16 generated views, the
completed mesh from four sides, and the true body from the same sides.  The bodies are the first three of each
group; none was chosen by its looks.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.generation import TARGET, UP, Case, make_case
from instascene_core.completion import complete_observation, make_prior, observe
from instascene_core.completion.meshing import appearance, painting
from instascene_core.completion.priors.external.picture import best_view, cut_out
from instascene_core.completion.priors.learned import LearnedPrior
from instascene_core.completion.priors.multiview.prior import MultiviewPrior
from instascene_core.completion.priors.multiview.ring import Ring, fitting_focal, object_frame, ring
from instascene_core.completion.priors.multiview.views import render_geometry
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ConvexPartsConfig
from instascene_core.files import write_image
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.training.multiview.examples import render_paint

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "generated.png"
GROUPS, EACH = ("everyday", "held-out prints"), 3
SIDE, SIDES = 96, 4  # pixels of a picture; sides shown
BLANK = 1.0

logger = logging.getLogger("benchmarks.generation_sheet")


def row_of(case: Case, weights: Path | None) -> np.ndarray:
    """[SIDE, W, 3] float in [0, 1]: the pictures of one body side by side."""
    config = CompletionConfig(convex_parts=ConvexPartsConfig(max_parts=1))
    observation = observe(case.frames, TARGET, Plane(UP, 0.0), UP, config)
    result = complete_observation(observation, make_prior("learned", config), config, 1, 0)
    prior = MultiviewPrior(LearnedPrior.from_config(config), config.multiview, config.next_view, weights)
    painted, _ = prior.paint(observation, result.mesh, result.vertex_uncertainty, 0)
    mesh = painting.refine_for_paint(result.mesh, painted, observation, config.meshing)
    facts = appearance.judge_vertices(
        observation, mesh, np.zeros(len(mesh.vertices)), config.meshing.appearance
    )
    facts = painting.paint_unseen(mesh, facts, painted)
    given = cut_out(best_view(observation.views), SIDE)
    frame = object_frame(case.body.vertices, UP)
    views = ring(fitting_focal(frame.from_world(case.body.vertices), SIDES), SIDE, SIDES)
    true, coverage, _ = render_paint(case.body, case.paint, case.light, views, frame)
    local = TriangleMesh(frame.from_world(mesh.vertices), mesh.triangles)
    made = colored_views(local, facts.colors, views)
    generated = painted.views[0]
    small = [_small(on_white(rgb, part)) for rgb, part in zip(generated.rgb, generated.coverage)]
    grid = np.concatenate([np.concatenate(small[:8], axis=1), np.concatenate(small[8:], axis=1)])
    parts = [np.where(given.mask[..., None], given.rgb / 255, BLANK), grid, *made]
    return np.concatenate([*parts, *(on_white(rgb, part) for rgb, part in zip(true, coverage))], axis=1)


def colored_views(mesh: TriangleMesh, colors: np.ndarray, views: Ring) -> list[np.ndarray]:
    """Pictures [H, W, 3] of a coloured mesh (frame; colours 0 … 255) on white."""
    geometry = render_geometry(mesh, views)
    rgb = geometry.values(mesh, colors.astype(np.float32)) / 255
    return [on_white(image, shown) for image, shown in zip(rgb, geometry.shown.astype(np.float32))]


def on_white(rgb: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    share = coverage[..., None]
    return share * rgb + (1 - share) * BLANK


def _small(image: np.ndarray) -> np.ndarray:
    """The image at half of SIDE."""
    import cv2

    return cv2.resize(image.astype(np.float32), (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--weights", type=Path, help="of the multi-view model; default: the package's")
    parser.add_argument("--output", type=Path, default=PICTURE)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows = [row_of(make_case(group, k, 4), chosen.weights) for group in GROUPS for k in range(EACH)]
    image = np.clip(np.rint(255 * np.concatenate(rows)), 0, 255).astype(np.uint8)
    write_image(chosen.output, image)
    logger.info("written to %s", chosen.output)


if __name__ == "__main__":
    main()
