"""`make bench`: every benchmark in turn, each in a process of its own; results in benchmarks/results/.

python -m benchmarks                 # all
python -m benchmarks kernel          # one of them; options: python -m benchmarks.kernel --help
"""

import argparse
import subprocess
import sys

BENCHMARKS = {
    "kernel": ["benchmarks.kernel"],
    "association": ["benchmarks.association"],
    "reconstruction": ["benchmarks.reconstruction"],
    "completion": ["benchmarks.completion", "scenes"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names",
        nargs="*",
        choices=[*BENCHMARKS, []],
        metavar="NAME",
        help=f"of {', '.join(BENCHMARKS)}; default: all",
    )
    failed = []
    for name in parser.parse_args().names or BENCHMARKS:
        sys.stdout.write(f"── {name} ──\n")
        sys.stdout.flush()
        if subprocess.run([sys.executable, "-m", *BENCHMARKS[name]]).returncode:
            failed.append(name)
    if failed:
        sys.stderr.write(f"These benchmarks failed: {', '.join(failed)}.\n")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
