"""benchmarks/grasping.py: what holds, what slips, what collides, on bodies where it is known."""

import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

from benchmarks import grasping
from benchmarks.grasp_tables import grasping as section

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
from grasps import Body, Grasp, Gripper, sample_grasps

GRIPPER = Gripper()
TABLE = np.array([0.0, 0.0, 1.0, 0.0])


def body(mesh: trimesh.Trimesh) -> Body:
    return Body(np.asarray(mesh.vertices), np.asarray(mesh.faces), np.ones(len(mesh.vertices)))


def standing(size=(0.05, 0.05, 0.1), at=(0.0, 0.0)) -> Body:
    return body(trimesh.creation.box(size).apply_translation((*at, size[2] / 2)).subdivide())


def planned(target: Body) -> Grasp:
    """The best of those from above."""
    grasps = sample_grasps(target, (), GRIPPER, support=TABLE)
    return next(grasp for grasp in grasps if grasp.pose[2, 2] < -0.99)


def judged(target: Body, others: tuple[Body, ...] = (), grasp: Grasp | None = None) -> str:
    grasp = grasp or planned(standing())
    return grasping.holds(grasp, GRIPPER, target, [target, *others], TABLE)


def test_a_grasp_holds_what_it_was_planned_for():
    assert judged(standing()) == "" and grasping.pads_hold(planned(standing()), GRIPPER, standing()) == ""
    assert judged(standing((0.046, 0.054, 0.1))) == "", "its width is found by touch"


def test_what_is_wrong_is_told():
    grasp = planned(standing())
    assert judged(standing((0.1, 0.1, 0.1))) == "collides", "wider than the opening"
    finger = grasp.pose[:3, :3] @ [0, GRIPPER.opening / 2 + 0.005, 0] + grasp.pose[:3, 3]
    beside = body(trimesh.creation.icosphere(subdivisions=3, radius=0.004).apply_translation(finger))
    assert judged(standing(), (beside,)) == "collides"
    assert judged(standing(at=(0.0, 0.5))) == "misses"
    turn = trimesh.transformations.rotation_matrix(np.pi / 4, (0, 0, 1))
    turned = trimesh.creation.box((0.04, 0.04, 0.1)).apply_transform(turn).apply_translation((0, 0, 0.05))
    middle = grasp.pose.copy()
    middle[:2, 3] = 0.004  # beside the edge: on a face that is 45 degrees off
    shifted = Grasp(middle, grasp.contacts, grasp.width, 1.0, 0.0, 1.0)
    assert judged(body(turned.subdivide()), grasp=shifted) == "slips"
    assert grasping.pads_hold(shifted, GRIPPER, body(turned.subdivide())) == "slips"


def test_the_section_counts_what_can_be_grasped():
    rows = [
        {"seed": 1, "mark": "", "true_grasps": 5, "fault": "", "pads": "slips"},
        {"seed": 1, "mark": "", "true_grasps": 5, "fault": "none found", "pads": "none found"},
        {"seed": 1, "mark": "", "true_grasps": 0, "fault": "none found", "pads": "none found"},
    ]
    text = section({"runs": [{**row, "machine": {"cpu": "x", "threads": 1, "torch": "2"}} for row in rows]})
    assert "| all | 3 | 2 | 1 (50 %) | 1 (50 %) | 0 (0 %) |" in text


def test_a_scene_is_measured_from_what_was_kept(tmp_path, monkeypatch):
    """Two boxes, found as they are: both first grasps hold."""
    boxes = {1: standing(at=(0.0, 0.0)), 2: standing(at=(0.3, 0.0))}
    monkeypatch.setattr(grasping, "completed", lambda *_: grasping.Things(boxes, TABLE))

    class Thing:
        kind = "box"

        def __init__(self, shape: Body) -> None:
            self.mesh = grasping._mesh(shape)

    monkeypatch.setattr(
        grasping, "generate_scene", lambda _: type("S", (), {"objects": [Thing(b) for b in boxes.values()]})
    )
    rows = grasping.measure(1, 2, tmp_path)
    assert [row["fault"] for row in rows] == ["", ""] and all(row["iou"] == pytest.approx(1) for row in rows)
