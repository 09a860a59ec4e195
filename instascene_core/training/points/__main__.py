"""`python -m instascene_core.training.points prepare|scannet|train|evaluate …`: see `--help`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from instascene_core.config.points import PointsConfig, ReadingConfig
from instascene_core.errors import InputError
from instascene_core.segmentation.points_network.files import WEIGHTS, load_points_network
from instascene_core.segmentation.points_network.network import DECODERS
from instascene_core.training.points.evaluate import evaluate, table_of
from instascene_core.training.points.prepared import prepared_scenes
from instascene_core.training.points.presets import PRESETS
from instascene_core.training.points.procedural import KINDS, write_scenes
from instascene_core.training.points.scannet import CLASSES, prepare_scannet
from instascene_core.training.points.train import PointsTraining, train


def _prepare(arguments: argparse.Namespace) -> None:
    seeds = range(arguments.first, arguments.scenes, arguments.every)
    write_scenes(arguments.output, arguments.kind, seeds, PointsConfig())


def _scannet(arguments: argparse.Namespace) -> None:
    prepare_scannet(arguments.source, arguments.output, arguments.table)


def _train(arguments: argparse.Namespace) -> None:
    plain: PointsTraining = PRESETS[arguments.preset]
    network = plain.network
    decoder = replace(network.decoder, start=arguments.start)
    losses = plain.losses
    if arguments.no_decorrelation:
        losses = replace(losses, same_query=0.0, other_queries=0.0)
    said = {name: getattr(arguments, name) for name in _PLAIN}
    config = replace(
        plain,
        **{name: value for name, value in said.items() if value is not None},
        losses=losses,
        network=replace(network, architecture=arguments.architecture, decoder=decoder),
    )
    train(arguments.data, arguments.output, config)


def _evaluate(arguments: argparse.Namespace) -> None:
    network = load_points_network(arguments.weights or WEIGHTS)
    paths = prepared_scenes(arguments.data)
    classes = 1 if arguments.class_agnostic else None
    found = evaluate(network, paths, ReadingConfig(), classes, arguments.scannet)
    with_names = network.config.classes == len(CLASSES) and not arguments.class_agnostic
    sys.stdout.write(table_of(found.scores, CLASSES if with_names else ()))
    sys.stdout.write(f"{len(paths)} scenes, {found.seconds:.2f} s each\n")


_PLAIN = ("seed", "steps", "minutes", "batch", "learning_rate", "held_back", "initial", "workers")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m instascene_core.training.points", description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    verbs = parser.add_subparsers(required=True)
    prepare = verbs.add_parser("prepare", help="make procedural scenes to learn from")
    prepare.add_argument("output", type=Path, help="folder of the prepared scenes")
    prepare.add_argument("--kind", choices=list(KINDS), default="training")
    prepare.add_argument("--scenes", type=int, default=600, help="seeds below this are made")
    prepare.add_argument("--first", type=int, default=0, help="first seed to make here")
    prepare.add_argument("--every", type=int, default=1, help="make every n-th only: for parallel processes")
    prepare.set_defaults(do=_prepare)
    scannet = verbs.add_parser("scannet", help="prepare scans of ScanNet v2")
    scannet.add_argument("source", type=Path, help="folder of a split: <scene>_vh_clean_2.ply and the others")
    scannet.add_argument("output", type=Path, help="folder of the prepared scenes")
    scannet.add_argument("--table", type=Path, help="scannetv2-labels.combined.tsv, where it lies elsewhere")
    scannet.set_defaults(do=_scannet)
    _add_train(verbs)
    judge = verbs.add_parser("evaluate", help="mAP, mAP50 and mAP25 on prepared scenes")
    judge.add_argument("data", type=Path, help="folder of the prepared scenes")
    judge.add_argument("--weights", type=Path, help="of the network; left out = the package's")
    judge.add_argument("--class-agnostic", action="store_true", help="classes do not count")
    judge.add_argument(
        "--scannet", action="store_true", help="ScanNet's protocol: what lies on walls and floors is void"
    )
    judge.set_defaults(do=_evaluate)
    return parser


def _add_train(verbs) -> None:
    usual = PointsTraining()
    parser = verbs.add_parser("train", help="train, or go on from the checkpoint beside the output")
    parser.add_argument("data", type=Path, help="folder of the prepared scenes")
    parser.add_argument("--output", type=Path, required=True, help="weights to write (.safetensors)")
    parser.add_argument(
        "--preset", choices=list(PRESETS), default="table", help="wide: for a GPU; room: as for ScanNet"
    )
    parser.add_argument("--architecture", choices=list(DECODERS), default=usual.network.architecture)
    parser.add_argument("--start", choices=["learned", "sampled"], default=usual.network.decoder.start)
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--minutes", type=float, default=0.0, help="end after this long; 0 = all steps")
    parser.add_argument("--batch", type=int, help="scenes a step; left out = the preset's")
    parser.add_argument("--learning-rate", type=float, help="left out = the preset's")
    parser.add_argument("--held-back", type=int, help="scenes only looked at; left out = the preset's")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches ahead, for a GPU")
    parser.add_argument("--initial", default="", help="weights to start from; empty = random ones")
    parser.add_argument("--no-decorrelation", action="store_true", help="for the ablation")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(do=_train)


def main(words: Sequence[str] | None = None) -> None:
    """words: of the command line, without the program; None = as it was called."""
    parser = _parser()
    arguments = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    import torch

    torch.set_num_threads(arguments.threads)
    try:
        arguments.do(arguments)
    except InputError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
