"""Training of the two judges: `python -m instascene_core.training.segmenter.judges DATA --output FOLDER`.

The contact model judges pairs of surface patches, the objectness model the nodes of the tree that these make.
First the evidence of whole scenes is gathered into DATA (an hour or two of processor time; `--first` and
`--every` split it over processes), then both are trained in minutes.
"""

import argparse
import json
import logging
from dataclasses import asdict, replace
from pathlib import Path

from instascene_core.config.segmentation import FusedSurfaceConfig, SegmentationConfig
from instascene_core.segmentation.fused_surface import contacts as contact_model
from instascene_core.segmentation.fused_surface import objectness as objectness_model
from instascene_core.training.segmenter import contacts, objectness
from instascene_core.training.segmenter.evidence import gather, read_scene
from instascene_core.weights import write_weights

logger = logging.getLogger(__name__)
HELD_BACK = 0.15  # share of the scenes, the last ones, that are only for the scores


def train(data: Path, output: Path, scenes: int) -> None:
    """Train both on the scenes in `data` and write their weights into the folder `output`."""
    paths = [path for path in sorted(data.glob("scene_*.npz"))[:scenes]]
    found = [scene for scene in map(read_scene, paths) if scene is not None]
    split = len(found) - max(1, round(HELD_BACK * len(found)))
    training, held_back = found[:split], found[split:]
    surface = FusedSurfaceConfig()
    how = contacts.ContactTraining()
    state, scores = contacts.train(training, held_back, how)
    notes = {"training": json.dumps(asdict(how) | {"scenes": split}), "scores": json.dumps(scores)}
    write_weights(output / contact_model.WEIGHTS.name, state, contact_model.FORMAT, notes, half=False)
    logger.info("contacts: %s", scores)
    settings = objectness.ObjectnessTraining()
    judge = contact_model.ContactModel(state)
    state, scores = objectness.train(training, held_back, judge, surface, settings)
    notes = {"training": json.dumps(asdict(settings) | {"scenes": split}), "scores": json.dumps(scores)}
    write_weights(output / objectness_model.WEIGHTS.name, state, objectness_model.FORMAT, notes, half=False)
    logger.info("objectness: %s", scores)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m instascene_core.training.segmenter.judges")
    parser.add_argument("data", type=Path, help="folder of the scenes' evidence (gathered where missing)")
    parser.add_argument(
        "--output", type=Path, help="folder of the weights to write; without it only data are made"
    )
    parser.add_argument("--scenes", type=int, default=160)
    parser.add_argument("--first", type=int, default=0, help="first scene to gather here")
    parser.add_argument("--every", type=int, default=1, help="gather every n-th only: for parallel processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", default="", help="of the segmenter; empty = the package's")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = SegmentationConfig()
    settings = replace(settings, network=replace(settings.network, weights=arguments.weights))
    chosen = range(arguments.first, arguments.scenes, arguments.every)
    gather(arguments.data, chosen, arguments.seed, settings)
    if arguments.output:
        train(arguments.data, arguments.output, arguments.scenes)


if __name__ == "__main__":
    main()
