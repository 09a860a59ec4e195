"""`python -m instascene_core.training.segmenter DATA --output FILE`: see `--help` and the model card."""

import argparse
import logging
import os
from pathlib import Path

from instascene_core.training.segmenter.data import write_shards
from instascene_core.training.segmenter.train import TrainingConfig, train


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m instascene_core.training.segmenter", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the procedural views (made where missing)")
    parser.add_argument("--output", type=Path, help="weights to write; without it only data are made")
    parser.add_argument("--shards", type=int, default=TrainingConfig.shards, help="32 views each")
    parser.add_argument("--first", type=int, default=0, help="first shard to make here")
    parser.add_argument("--every", type=int, default=1, help="make every n-th only: for parallel processes")
    parser.add_argument("--epochs", type=int, default=TrainingConfig.epochs)
    parser.add_argument("--minutes", type=float, default=0.0, help="end after this long; 0 = all epochs")
    parser.add_argument("--initial", default="", help="weights to start from; empty = random ones")
    parser.add_argument("--learning-rate", type=float, default=TrainingConfig.learning_rate)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    import torch

    torch.set_num_threads(args.threads)
    args.data.mkdir(parents=True, exist_ok=True)
    write_shards(args.data, range(args.first, args.shards, args.every))
    if args.output:
        config = TrainingConfig(
            shards=args.shards, epochs=args.epochs, minutes=args.minutes, initial=args.initial,
            learning_rate=args.learning_rate,
        )  # fmt: skip
        train(args.data, args.output, config)


if __name__ == "__main__":
    main()
