"""Training of the two judges: `python -m instascene_core.training.segmenter.judges DATA --output FOLDER`.

The contact model judges pairs of surface patches, the objectness model the nodes of the tree that these make.
First the evidence of whole scenes is gathered into DATA (an hour or two of processor time; `--first` and
`--every` split it over processes), then both are trained in minutes.
"""

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from instascene_core.config.segmentation import FusedSurfaceConfig, SegmentationConfig
from instascene_core.segmentation.fused_surface import contacts as contact_model
from instascene_core.segmentation.fused_surface import objectness as objectness_model
from instascene_core.training.segmenter import contacts, objectness
from instascene_core.training.segmenter.evidence import SceneEvidence, gather, read_scene, shows_objects
from instascene_core.weights import write_weights

logger = logging.getLogger(__name__)
HELD_BACK = 0.15  # share of the scenes, the last ones, that are only for the scores


def train(data: Path, output: Path, scenes: int, kept: Path | None = None) -> None:
    """Train both on the scenes in `data` and write their weights into the folder `output`.

    kept: weights of a contact model that stays as it is, so that only the objectness model is trained.
    """
    paths = [path for path in sorted(data.glob("scene_*.npz"))[:scenes] if shows_objects(path)]
    split = len(paths) - max(1, round(HELD_BACK * len(paths)))
    training, held_back = paths[:split], paths[split:]
    judge = contact_model.load_contact_model(kept) if kept else _train_contacts(training, held_back, output)
    settings = objectness.ObjectnessTraining()
    scenes_of = _read_scenes(training), _read_scenes(held_back)
    state, scores = objectness.train(*scenes_of, judge, FusedSurfaceConfig(), settings)
    notes = {"training": json.dumps(asdict(settings) | {"scenes": split}), "scores": json.dumps(scores)}
    write_weights(output / objectness_model.WEIGHTS.name, state, objectness_model.FORMAT, notes, half=False)
    logger.info("objectness: %s", scores)


def _train_contacts(
    training: Sequence[Path], held_back: Sequence[Path], output: Path
) -> contact_model.ContactModel:
    how = contacts.ContactTraining()
    state, scores = contacts.train(_read_scenes(training), _read_scenes(held_back), how)
    notes = {"training": json.dumps(asdict(how) | {"scenes": len(training)}), "scores": json.dumps(scores)}
    write_weights(output / contact_model.WEIGHTS.name, state, contact_model.FORMAT, notes, half=False)
    logger.info("contacts: %s", scores)
    return contact_model.ContactModel(state)


def _read_scenes(paths: Sequence[Path]) -> Iterator[SceneEvidence]:
    """One at a time: hundreds would not fit into memory."""
    for path in paths:
        scene = read_scene(path)
        assert scene is not None  # as `shows_objects` said
        yield scene


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
    parser.add_argument(
        "--contacts", type=Path, help="weights of a contact model to keep; else it is trained"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = SegmentationConfig()
    settings = replace(settings, network=replace(settings.network, weights=arguments.weights))
    chosen = range(arguments.first, arguments.scenes, arguments.every)
    gather(arguments.data, chosen, arguments.seed, settings)
    if arguments.output:
        train(arguments.data, arguments.output, arguments.scenes, arguments.contacts)


if __name__ == "__main__":
    main()
