"""`python -m instascene_core.training.confidence JOBS --output FILE`: see `--help` and the model card."""

import argparse
import logging
from pathlib import Path

from instascene_core.training.confidence.fit import fit_to_jobs
from instascene_core.training.confidence.jobs import FIRST_SEED, run_jobs


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m instascene_core.training.confidence", description=__doc__
    )
    parser.add_argument("jobs", type=Path, help="folder of what came of the jobs (run where missing)")
    parser.add_argument("--output", type=Path, help="weights to write; without it only jobs are run")
    parser.add_argument("--count", type=int, default=40, help="of jobs, one a scene")
    parser.add_argument("--first", type=int, default=0, help="first job to run here")
    parser.add_argument("--every", type=int, default=1, help="run every n-th only: for parallel processes")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("instascene_core.training").setLevel(logging.INFO)
    args.jobs.mkdir(parents=True, exist_ok=True)
    run_jobs(args.jobs, range(FIRST_SEED + args.first, FIRST_SEED + args.count, args.every))
    if args.output:
        fit_to_jobs(args.jobs, args.output, args.count)


if __name__ == "__main__":
    main()
