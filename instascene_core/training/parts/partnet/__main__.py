"""The part network on PartNet: `prepare`, `train` and `test`, a category at a time or all 24.

    python -m instascene_core.training.parts.partnet prepare ROOT PREPARED --category Chair
    python -m instascene_core.training.parts.partnet train PREPARED WEIGHTS --category Chair
    python -m instascene_core.training.parts.partnet test ROOT WEIGHTS --category Chair

ROOT is PartNet as downloaded; PREPARED and WEIGHTS are folders with an entry a category.  The last prints
mAP and shape-mAP at IoU 0.5 of each level as JSON.
"""

import argparse
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

from instascene_core.errors import InputError
from instascene_core.training.parts.partnet.run import SHOWING, prepare, test_category, train_category
from instascene_core.training.parts.partnet.shapes import CATEGORIES
from instascene_core.training.parts.train import PartTraining


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m instascene_core.training.parts.partnet", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("step", choices=("prepare", "train", "test"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--category", nargs="*", default=list(CATEGORIES), metavar="NAME")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=0.0, help="a category, at most; 0 = all epochs")
    parser.add_argument("--batch", type=int, default=8, help="shapes")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        for category in args.category:
            told = _step(args, category)
            sys.stdout.write(json.dumps({category: told}) + "\n")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


def _step(args: argparse.Namespace, category: str) -> dict:
    if args.step == "prepare":
        return prepare(args.source, category, args.target / category)
    weights = args.target / f"{category}.safetensors"
    if args.step == "test":
        return test_category(args.source, category, weights)
    args.target.mkdir(parents=True, exist_ok=True)
    config = replace(
        PartTraining(), epochs=args.epochs, minutes=args.minutes, batch=args.batch, showing=SHOWING
    )
    return train_category(args.source / category, weights, config)


if __name__ == "__main__":
    main()
