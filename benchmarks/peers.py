"""Public code beside ours, on the same data: `python -m benchmarks.peers [--data DIR] [--opensplat …] …`.

Clustering of masks: MaskClustering and InstaScene beside ours at 60, 200 and 500 frames.  Splatting:
OpenSplat on the CPU beside our reconstruction, on the recorded `fox` of --data.  The public code lies
anywhere outside this checkout; what is not given is left out.  Writes benchmarks/results/peers.json as rows
come; those that are not measured now stay.

The programs of --opensplat, and of --mask-clustering and --insta-scene (the roots of their checkouts), run in
processes of their own.  The last two run with this Python; they need networkx, open3d and tqdm.
"""

import argparse
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks import peers_clustering as clustering
from benchmarks import peers_splatting as splatting
from benchmarks.provenance import UNKNOWN
from benchmarks.reconstruction import split
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.datasets import open_dataset

logger = logging.getLogger("benchmarks.peers")

TITLES = {"mask_clustering": "MaskClustering", "insta_scene": "InstaScene"}


def revision(checkout: Path) -> str:
    """The abbreviated commit of a peer's checkout."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    run = subprocess.run(command, capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else UNKNOWN


def version(executable: Path) -> str:
    """What a program says of itself."""
    run = subprocess.run([str(executable), "--version"], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def cluster(frames: list[int], scenes: int, checkouts: dict[str, Path]) -> Iterator[list[dict]]:
    """A row per method, for one number of frames after another.  checkouts: by driver."""
    cases = [clustering.make_case(*scene, max(frames), min(frames)) for scene in clustering.SCENES[:scenes]]
    for count in frames:
        rows = []
        for rule in clustering.OURS:
            found = [clustering.ours(case, count, rule) for case in cases]
            rows.append(clustering.row_of(f"ours, {rule}", count, cases, found))
        for driver, checkout in checkouts.items():
            try:
                found = [clustering.peer(case, count, driver, checkout) for case in cases]
            except RuntimeError as error:  # what others measure stays
                logger.warning("%s has no row at %d frames: %s", TITLES[driver], count, error)
                continue
            row = clustering.row_of(TITLES[driver], count, cases, found)
            rows.append({**row, "peer": revision(checkout)})
        yield rows


def splat(data: Path, executable: Path | None) -> Iterator[list[dict]]:
    """A row per run of ours; then of each run of OpenSplat's a row per file that it writes."""
    train, test = split([splatting.centred(frame) for frame in open_dataset(data / "fox")])
    for iterations in splatting.ITERATIONS:
        yield [splatting.ours(train, test, iterations)]
    if executable is None:
        logger.info("OpenSplat is left out: give its executable with --opensplat.")
        return
    for setting in splatting.SETTINGS:
        found = splatting.opensplat(executable, train, test, setting)
        yield [{**row, "peer": version(executable)} for row in found]


def main() -> None:
    """Run what is there and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder that holds the recorded set fox")
    parser.add_argument("--opensplat", type=Path, help="its executable")
    parser.add_argument("--mask-clustering", type=Path, help="its checkout")
    parser.add_argument("--insta-scene", type=Path, help="its checkout")
    parser.add_argument("--only", choices=("clustering", "splatting"))
    parser.add_argument("--frames", type=int, nargs="+", default=list(clustering.FRAMES))
    parser.add_argument("--scenes", type=int, default=len(clustering.SCENES), help="the first so many")
    parser.add_argument("--output", type=Path, default=RESULTS / "peers.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    made_by = provenance_of("peers")
    if arguments.only != "splatting":
        checkouts = {name: getattr(arguments, name) for name in TITLES}
        for name in (name for name, folder in checkouts.items() if folder is None):
            option = name.replace("_", "-")
            logger.info("%s is left out: give its checkout with --%s.", TITLES[name], option)
        given = {name: folder for name, folder in checkouts.items() if folder is not None}
        for rows in cluster(sorted(arguments.frames), arguments.scenes, given):
            write_results(arguments.output, "peers", {"clustering": rows}, made_by)
    if arguments.only != "clustering" and arguments.data is None:
        logger.info("Splatting is left out: give the folder of recorded sets with --data.")
    elif arguments.only != "clustering":
        for rows in splat(arguments.data, arguments.opensplat):
            write_results(arguments.output, "peers", {"splatting": rows}, made_by)
    logger.info("written to %s", arguments.output)


if __name__ == "__main__":
    main()
