"""`python -m instascene_core.training.points prepare|train|evaluate …`: see `--help` and the model card."""

import argparse
import logging
import os
from pathlib import Path

from instascene_core.config.points import PointsConfig
from instascene_core.training.points.procedural import KINDS, write_scenes


def _prepare(arguments: argparse.Namespace) -> None:
    seeds = range(arguments.first, arguments.scenes, arguments.every)
    write_scenes(arguments.output, arguments.kind, seeds, PointsConfig())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m instascene_core.training.points", description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    verbs = parser.add_subparsers(required=True)
    prepare = verbs.add_parser("prepare", help="make scenes to learn from")
    prepare.add_argument("output", type=Path, help="folder of the prepared scenes")
    prepare.add_argument("--kind", choices=list(KINDS), default="training", help="of the procedural scenes")
    prepare.add_argument("--scenes", type=int, default=600, help="seeds below this are made")
    prepare.add_argument("--first", type=int, default=0, help="first seed to make here")
    prepare.add_argument("--every", type=int, default=1, help="make every n-th only: for parallel processes")
    prepare.set_defaults(do=_prepare)
    return parser


def main() -> None:
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    import torch

    torch.set_num_threads(arguments.threads)
    arguments.do(arguments)


if __name__ == "__main__":
    main()
