"""`python -m instascene_core.training.borders DATA --output FILE`: see `--help` and the model card."""

import argparse
import logging
from pathlib import Path

import torch

from instascene_core.config import SegmentationConfig
from instascene_core.training.borders.data import gather
from instascene_core.training.borders.train import BorderTraining, train


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m instascene_core.training.borders", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the scenes (made where missing)")
    parser.add_argument("--output", type=Path, help="weights to write; without it only data are made")
    parser.add_argument("--scenes", type=int, default=214)
    parser.add_argument("--first", type=int, default=0, help="first scene to make here")
    parser.add_argument("--every", type=int, default=1, help="make every n-th only: for parallel processes")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes")
    parser.add_argument("--minutes", type=float, default=BorderTraining.minutes)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    chosen = range(arguments.first, arguments.scenes, arguments.every)
    gather(arguments.data, chosen, arguments.seed, SegmentationConfig())
    if arguments.output:
        train(arguments.data, arguments.output, BorderTraining(minutes=arguments.minutes))


if __name__ == "__main__":
    main()
