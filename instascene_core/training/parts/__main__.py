"""`python -m instascene_core.training.parts DATA --output FILE`: see `--help` and the model card."""

import argparse
import logging
import os
from pathlib import Path

from instascene_core.parts.fusion import FusionParts
from instascene_core.parts.network import PartShape
from instascene_core.synthetic.anatomy import LEVEL_NAMES
from instascene_core.training.parts.data import Showing, write_shards
from instascene_core.training.parts.train import PartTraining, train

SIZES = {
    # What fits 5 MB and two cores.
    "full": lambda classes, fusion: PartShape(classes, features=32, hidden=32, voxel=1 / 16, fusion=fusion),
    # As many weights, looking closer; for a GPU.
    "fine": lambda classes, fusion: PartShape(classes, features=32, hidden=32, voxel=1 / 24, fusion=fusion),
    # For comparisons: a third of the time.
    "small": lambda classes, fusion: PartShape(
        classes, widths=(16, 32, 64), features=24, hidden=24, voxel=1 / 12, fusion=fusion
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m instascene_core.training.parts", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the procedural things (made where missing)")
    parser.add_argument("--output", type=Path, help="weights to write; without it only data are made")
    parser.add_argument("--shards", type=int, default=PartTraining.shards, help="200 things each")
    parser.add_argument("--first", type=int, default=0, help="first shard to make here")
    parser.add_argument("--every", type=int, default=1, help="make every n-th only: for parallel processes")
    parser.add_argument("--made-elsewhere", action="store_true",
                        help="learn from what is there while other processes make the rest")  # fmt: skip
    parser.add_argument("--epochs", type=int, default=PartTraining.epochs)
    parser.add_argument("--minutes", type=float, default=0.0, help="end after this long; 0 = all epochs")
    parser.add_argument("--seed", type=int, default=PartTraining.seed)
    parser.add_argument("--learning-rate", type=float, default=PartTraining.learning_rate)
    parser.add_argument("--batch", type=int, default=PartTraining.batch, help="things a step")
    parser.add_argument("--points", type=int, nargs=2, default=PartTraining().showing.points,
                        help="of a thing, at least and at most")  # fmt: skip
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches ahead, for a GPU")
    parser.add_argument("--without", nargs="*", default=[], choices=("within", "across", "region"),
                        help="parts of the fusion to leave out, for the ablation")  # fmt: skip
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    import torch

    torch.set_num_threads(args.threads)
    args.data.mkdir(parents=True, exist_ok=True)
    if not args.output:
        write_shards(args.data, range(args.first, args.shards, args.every))
    else:
        if not args.made_elsewhere:
            write_shards(args.data, range(args.shards))
        fusion = FusionParts(**{name: name not in args.without for name in ("within", "across", "region")})
        config = PartTraining(
            seed=args.seed, shards=args.shards, epochs=args.epochs, minutes=args.minutes,
            learning_rate=args.learning_rate, batch=args.batch, workers=args.workers,
            showing=Showing(points=tuple(args.points)),
        )  # fmt: skip
        classes = tuple(len(level) for level in LEVEL_NAMES)
        train(args.data, args.output, LEVEL_NAMES, config, SIZES[args.size](classes, fusion))


if __name__ == "__main__":
    main()
