"""More cameras: smaller errors, smaller spread.  `python -m benchmarks.generation_views`

The bodies of `benchmarks.generation`, seen by the first 1, 2, 4 and 8 of cameras APART degrees from one to
the next, completed with five samples of the shape and coloured from five seeds (several steps: with one, all
seeds agree by design).  Colours: error and spread over the seeds, at the pixels of the body, and at those
that none of the cameras saw.  Shape: distance of the body's surface from the truth, and the uncertainty that
the result reports, the spread of its samples.  Beside it the time of every stage of one completion.  Writes
to benchmarks/results/generation.json.

More cameras on one arc show nothing new from the second on, which stands at its end: so the arc grows.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.generation import TARGET, UP, Truth, colored, make_case, truth_of
from benchmarks.generation_scores import Stopwatch
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.completion import complete_observation, make_prior, observe
from instascene_core.completion.priors.multiview.views import render_geometry
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ConvexPartsConfig
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.errors import InputError
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.metrics import sample_surface

VIEWS = (1, 2, 4, 8)
APART = 25.0  # degrees
SEEDS = 5
STEPS = 4  # of the solver
GROUPS = ("everyday", "held-out prints")

logger = logging.getLogger("benchmarks.generation_views")


def shown_colors(truth: Truth, mesh: TriangleMesh, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours [N, H, W, 3] in [0, 1] of a mesh in the compared views, and pixels [N, H, W] that both it and
    the true body cover."""
    local = TriangleMesh(truth.frame.from_world(mesh.vertices), mesh.triangles)
    geometry = render_geometry(local, truth.views)
    return geometry.values(local, colors.astype(np.float32)) / 255, truth.shown & geometry.shown


def measure(group: str, index: int, views: int, truth: Truth, weights: Path | None) -> dict | None:
    """Figures of one body; None where it cannot be completed."""
    case = make_case(group, index, views, APART)
    config = CompletionConfig(
        convex_parts=ConvexPartsConfig(max_parts=1), multiview=MultiviewConfig(steps=STEPS)
    )
    try:
        observation = observe(case.frames, TARGET, Plane(UP, 0.0), UP, config)
        result = complete_observation(observation, make_prior("learned", config), config, SEEDS, 0)
    except InputError as error:
        logger.info("%s, %d views: %s", case.name, views, error)
        return None
    images = []
    for seed in range(SEEDS):
        mesh, colors = colored(observation, result, config, weights, seed)
        image, mask = shown_colors(truth, mesh, colors)
        images.append(image)
    figures = {}
    for name, part in (("color", mask), ("unseen", mask & ~truth.seen)):
        stack = np.stack(images)[:, part]  # [seeds, pixels, 3]
        figures[f"{name}_error"] = float(np.sqrt(((stack - truth.rgb[part]) ** 2).mean()))
        figures[f"{name}_spread"] = float(np.sqrt(stack.var(axis=0, ddof=1).mean()))
    true = sample_surface(case.body, 2000)
    diagonal = float(np.linalg.norm(np.ptp(case.body.vertices, axis=0)))
    off = np.concatenate([
        meshes.distance(result.mesh, true), meshes.distance(case.body, sample_surface(result.mesh, 2000))
    ])  # fmt: skip
    shape = {"shape_error": float(off.mean()) / diagonal, "shape_uncertainty": result.uncertainty / diagonal}
    return figures | shape


def stage_times(weights: Path | None, things: int) -> list[dict]:
    """Mean seconds of every stage of completing a body with the prior multiview, by its progress reports."""
    config = CompletionConfig(prior="multiview", multiview=MultiviewConfig(weights=str(weights or "")))
    prior, totals = make_prior("multiview", config), {}
    for index in range(-1, things):  # the first one only warms up
        case = make_case("everyday", max(index, 0), 4)
        watch = Stopwatch()
        watch.enter("observing")
        observation = observe(case.frames, TARGET, Plane(UP, 0.0), UP, config)
        complete_observation(observation, prior, config, 1, 0, watch.tell)
        watch.enter("")
        for name, value in watch.seconds.items() if index >= 0 else ():
            totals[name] = totals.get(name, 0.0) + value / things
    rows = [{"stage": name, "seconds": round(value, 3)} for name, value in totals.items()]
    return [*rows, {"stage": "all", "seconds": round(sum(totals.values()), 3)}]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the results, a row of cameras as it comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "generation.json")
    parser.add_argument("--weights", type=Path, help="of the multi-view model; default: the package's")
    parser.add_argument("--things", type=int, default=4, help="of each of both groups")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made_by = provenance_of("generation")
    stages = stage_times(chosen.weights, chosen.things)
    write_results(chosen.output, "generation", {"stages": stages}, {"stages": made_by["stages"]})
    cases = [(group, index) for group in GROUPS for index in range(chosen.things)]
    # The fewer cameras are the first of the many: what these do not see, none of them does.
    truths = {case: truth_of(make_case(*case, VIEWS[-1], APART)) for case in cases}
    for views in VIEWS:
        found = [measure(*case, views, truths[case], chosen.weights) for case in cases]
        found = [row for row in found if row is not None]
        means = {name: round(float(np.mean([row[name] for row in found])), 5) for name in found[0]}
        row = {"views": views, "things": len(found), "seeds": SEEDS, **means}
        logger.info("%s", row)
        write_results(chosen.output, "generation", {"views": [row]}, {"views": made_by["views"]})


if __name__ == "__main__":
    main()
