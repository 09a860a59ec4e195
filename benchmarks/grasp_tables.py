"""The section on grasps of docs/benchmarks.md."""

from benchmarks.markdown import place, table


def grasping(found: dict) -> str:
    """Grasps planned on completed objects, tried on the true ones."""
    lines = []
    for seed in sorted({row["seed"] for row in found["runs"]}):
        rows = [row for row in found["runs"] if row["seed"] == seed]
        lines.append([f"{seed}{rows[0]['mark']}", *_grasped(rows)])
    lines.append(["all", *_grasped(found["runs"])])
    header = ["scene", "objects found", "can be grasped", "of these: a grasp is planned", "the first holds",
              "by its whole pads"]  # fmt: skip
    return (
        f"## Grasps\n\n{place(found)}. Scenes after the whole job; the first grasp that "
        "`examples/grasps.py` plans on a completed object, tried on the true meshes: the open gripper (8 cm, "
        "friction 0.5) is clear of them, and both contacts lie within the true friction cones; by its whole "
        "pads: what these touch first does. Can be grasped: the same sampler finds a grasp on the true mesh "
        "among its true neighbours, or the planned one holds; the others are too wide or too close to them."
        f"\n\n{table(header, lines)}\n"
    )


def _grasped(rows: list[dict]) -> list[str]:
    possible = [row for row in rows if row["true_grasps"] or not row["fault"]]
    counts = [
        sum(row["fault"] != "none found" for row in possible),
        sum(not row["fault"] for row in possible),
        sum(not row["pads"] for row in possible),
    ]
    shares = [f"{count} ({100 * count / max(len(possible), 1):.0f} %)" for count in counts]
    return [str(len(rows)), str(len(possible)), *shares]
