"""`python -m instascene_core.training.multiview DATA --output FILE`: see `--help` and the model card."""

import argparse
import json
import logging
import sys
from pathlib import Path

from instascene_core.training.multiview.data import VALIDATION, write_shards
from instascene_core.training.multiview.examples import SIDE
from instascene_core.training.multiview.train import TrainingConfig, train

VALIDATION_SHARDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m instascene_core.training.multiview", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the procedural examples (made where missing)")
    parser.add_argument("--output", type=Path, help="weights to write; without it only data are made")
    parser.add_argument("--score", type=Path, help="weights to score on held-out kinds instead of training")
    parser.add_argument("--second-of", type=Path, help="train (score) the second stage of these weights")
    parser.add_argument("--shards", type=int, default=300, help="16 objects each")
    parser.add_argument("--first", type=int, default=0, help="first shard to make here")
    parser.add_argument("--every", type=int, default=1, help="make every n-th only: for parallel processes")
    parser.add_argument("--made", action="store_true", help="train on the shards that are there; make none")
    parser.add_argument("--steps", type=int, default=TrainingConfig.steps)
    parser.add_argument("--half-steps", type=int, default=TrainingConfig.half_steps, help="at half the side")
    parser.add_argument("--batch", type=int, default=TrainingConfig.batch, help="objects a step")
    parser.add_argument("--rate", type=float, default=TrainingConfig.learning_rate, help="peak learning rate")
    parser.add_argument("--average", type=float, default=TrainingConfig.average, help="of averaged weights")
    parser.add_argument("--minutes", type=float, default=0.0, help="end after this long; 0 = all steps")
    parser.add_argument("--widths", type=int, nargs=3, default=TrainingConfig.widths, help="of the network")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare examples")
    parser.add_argument("--seed", type=int, default=TrainingConfig.seed)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    import torch

    torch.set_num_threads(args.threads)
    args.data.mkdir(parents=True, exist_ok=True)
    side = 2 * SIDE if args.second_of else SIDE
    write_shards(args.data, range(VALIDATION, VALIDATION + VALIDATION_SHARDS), side=side)
    if args.score:
        from instascene_core.completion.priors.multiview.network import load_network, side_of
        from instascene_core.training.multiview.scores import score_network, score_second

        network, notes = load_network(args.score, "second" if args.second_of else "first")
        if args.second_of:
            scores = score_second(network, load_network(args.second_of)[0], args.data)
        else:
            scores = score_network(network, args.data, side_of(notes) < SIDE)
        sys.stdout.write(json.dumps(scores, indent=1) + "\n")
        return
    if not args.made:
        write_shards(args.data, range(args.first, args.shards, args.every), side=side)
    if args.output:
        config = TrainingConfig(
            seed=args.seed,
            steps=args.steps,
            half_steps=args.half_steps,
            batch=args.batch,
            learning_rate=args.rate,
            minutes=args.minutes,
            widths=tuple(args.widths),
            workers=args.workers,
            first=str(args.second_of or ""),
            average=args.average,
        )
        train(args.data, args.output, config)


if __name__ == "__main__":
    main()
