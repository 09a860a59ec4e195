"""Sections of the page of figures about files in the programs that they are for."""

from benchmarks.markdown import number, place, table


def parsers(found: dict) -> str:
    """What the parser of each format says of all files."""
    readers = list(dict.fromkeys(name for row in found["runs"] for name in row["readers"]))
    lines = []
    for name in readers:
        answers = [row["readers"].get(name) for row in found["runs"]]
        there = [answer for answer in answers if answer is not None]
        off = max((value for answer in there for value in answer["worst"].values()), default=None)
        complaints = sum(len(answer["complaints"]) for answer in there)
        scenes = f"{len(there)} of {len(answers)}"
        files = str(sum(answer["files"] for answer in there))
        lines.append([name, scenes, files, number(off, "{:.5f} %", 100), str(complaints)])
    scenes = ", ".join(row["scene"] + row["mark"] for row in found["runs"])
    header = ["reader", "scenes", "files", "off at most", "complaints"]
    return (
        f"## Do the files load?\n\nEvery file of {scenes} in the parser that it is for. Off: volume, mass, "
        "centre, inertia, size and pose beside those of object.json; a mesh that is open or of another Euler "
        f"number is a complaint.\n\n{table(header, lines)}\n"
    )


def settling(found: dict) -> str:
    """Whether scenes stand still, and what laying them to rest does."""
    header = ["scene", "correctly found of true", "hold, each by itself", "hold, laid to rest",
              "true meshes stay", "largest drift [mm]", "largest tilt [°]",
              "overlap at first [mm], by itself", "laid to rest",
              "volume IoU, by itself", "laid to rest", "processor s"]  # fmt: skip
    lines = []
    for row in found["runs"]:
        things = row["found"]

        def most(state: str, name: str, things: list = things) -> float:
            return max((thing[state][name] for thing in things), default=0.0)

        def mean(name: str, things: list = things) -> float:
            return sum(thing[name] for thing in things) / max(len(things), 1)

        stay = sum(t["true"]["tilt_deg"] < 5 and t["true"]["drift_m"] < 0.01 for t in things)
        lines.append(
            [row["scene"] + row["mark"], f"{len(things)} of {row['true_objects']}",
             str(sum(t["held_alone"] for t in things)), str(row["hold"]), str(stay),
             f"{1000 * most('rested', 'drift_m'):.1f}", f"{most('rested', 'tilt_deg'):.1f}",
             f"{1000 * most('alone', 'overlap_m'):.1f}", f"{1000 * most('rested', 'overlap_m'):.1f}",
             f"{mean('iou_alone'):.3f}", f"{mean('iou'):.3f}", f"{row['resting_processor_s']:.0f}"]
        )  # fmt: skip
    things = [thing for row in found["runs"] for thing in row["found"]]
    total = f"{sum(t['holds'] for t in things)} of {len(things)} objects hold; each by itself " + (
        f"{sum(t['held_alone'] for t in things)}."
    )
    return (
        f"## Do scenes stand still?\n\n{place(found)}. Piles of 8 objects, 2 s of gravity in MuJoCo. An "
        "object holds where it drifts by less than 1 cm and tilts by less than 5° beyond what its true mesh "
        f"does with convex bodies made alike. {total}\n\n{table(header, lines)}\n"
    )
