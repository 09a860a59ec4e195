"""Public code beside ours: the evaluator, the drivers (on checkouts made up here), the renderer, the page."""

import sys
from dataclasses import replace
from textwrap import dedent

import numpy as np
import pytest
import torch

from benchmarks import peers, peers_clustering, peers_splatting, peers_tables
from benchmarks.peers_clustering import Case, Found
from benchmarks.peers_ellipsoids import read_ellipsoids, render_ellipsoids
from instascene_core.camera import PinholeCamera
from instascene_core.frame import Frame
from instascene_core.reconstruction.initialisation import gaussians_from_depth

CAMERA = PinholeCamera(40, 30, 40.0, 40.0, 20.0, 15.0)
HALVES = np.repeat(np.where(np.arange(40) < 20, 1, 2)[None], 30, axis=0).astype(np.int32)


def wall(name: str = "0") -> Frame:
    """A wall 2 m before the camera: object 1 on the left, 2 on the right."""
    depth = np.full((30, 40), 2.0, dtype=np.float32)
    return Frame(name, 0.0, CAMERA, np.eye(4), np.full((30, 40, 3), 99, np.uint8), depth, HALVES)


def case() -> Case:
    frames = [wall("0"), wall("1")]
    gaussians = gaussians_from_depth(frames, 1000)
    gaussians = replace(gaussians, logit_opacities=torch.full_like(gaussians.logit_opacities, 4.0))
    truth = peers_clustering.true_objects(gaussians.means.numpy(), frames)
    return Case(frames, [HALVES, 3 - HALVES], gaussians, truth)


# ── clustering ────────────────────────────────────────────────────────────────────────────────────


def test_a_point_is_of_the_object_that_most_frames_show_where_it_lies():
    swapped = wall("2").with_(labels=3 - HALVES)
    points = np.array([[-0.5, 0, 2], [0.5, 0, 2], [0.5, 0, 1.9], [0.5, 0, -2], [9.0, 0, 2]])
    found = peers_clustering.true_objects(points, [wall("0"), wall("1"), swapped])
    np.testing.assert_array_equal(found, [1, 2, -1, -1, -1])  # before the wall, behind the camera, beside it
    table = wall("3").with_(labels=np.full_like(HALVES, -1))
    assert peers_clustering.true_objects(points[:1], [table])[0] == 0


def test_instances_are_equally_sure_unless_a_method_says_otherwise():
    truth = np.repeat([1, 2, 0], [200, 200, 200]).astype(np.int32)
    scene = Case([], [], case().gaussians, truth)
    masks = np.stack([truth == 1, truth == 2, truth == 0])
    found = Found(masks, np.array([0.9, 0.8, 0.1]), 1.0, 0.5)
    assert peers_clustering.scores([scene], [found], own_sureness=True).ap50 == pytest.approx(1.0)
    # Two right of three that come together: the trapezoid from precision 1 to 2/3.
    assert peers_clustering.scores([scene], [found]).ap50 == pytest.approx((1 + 2 / 3) / 2)


def test_ours_finds_the_halves_and_tells_its_time():
    scene = case()
    for rule in peers_clustering.OURS:
        found = peers_clustering.ours(scene, 2, rule)
        assert peers_clustering.scores([scene], [found]).ap50 == 1.0
        assert 0 < found.projecting < found.cpu_seconds
    row = peers_clustering.row_of("ours", 2, [scene], [found])
    assert (row["masks"], row["instances"], row["true_objects"], row["ap25"]) == (4, 2, 2, 1.0)


PROJECTING = """
    import numpy as np
    from pytorch3d.ops import ball_query
    import torch

    def frame_backprojection(dataset, points, frame):
        depth, pose = dataset.get_depth(frame), dataset.get_extrinsic(frame)
        matrix = dataset.get_intrinsics(frame).intrinsic_matrix
        row, column = np.indices(depth.shape)
        rays = np.stack([column, row, np.ones_like(row)], axis=-1) @ np.linalg.inv(matrix).T
        world = (rays * depth[..., None]).reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
        labels = dataset.get_segmentation(frame, align_with_depth=True).ravel()
        groups = []
        for label in (1, 2):
            own = torch.tensor(world[labels == label]).float().cuda()[None]
            counts = torch.tensor([own.shape[1]]), torch.tensor([len(points)])
            _, near, _ = ball_query(own, points[None], *counts, K=3, radius=0.3, return_nn=False)
            groups.append(set(near[near >= 0].tolist()))
        return groups

    def mask_graph_construction(args, points, frames, dataset):
        points = torch.tensor(points).float().cuda()
        return frame_backprojection(dataset, points, frames[0]), [args.limit], None, None
"""
MADE_UP = {
    "insta_scene": {
        "spatial_track/spatialtrack.py": """
            from gaussian_renderer import render
            from scene import GaussianModel
            from scene.cameras import Camera

            class GausCluster:
                def __init__(self, gaussian, viewcams, debug=True):
                    self.gaussian, self.view = gaussian, viewcams[0]

                def maskclustering(self, save_dir=None):
                    pairs = render(self.view, self.gaussian, self.gaussian.pipelineparams)
                    pairs = pairs["gau_related_pixels"]
                    labels = self.view.segmap.cuda().reshape(-1)[pairs[:, 1]]
                    groups = [set(pairs[labels == label, 0].tolist()) for label in (1, 2)]
                    self.export({"total_point_ids_list": groups}, save_dir=save_dir)
        """,
    },
    "mask_clustering": {
        "configs/demo.json": '{"limit": 2, "view_consensus_threshold": 0.9}',
        "graph/construction.py": PROJECTING,
        "graph/iterative_clustering.py": """
            def iterative_clustering(nodes, limits, threshold, debug):
                return nodes[: limits[0]]
        """,
        "utils/post_process.py": """
            import os
            import numpy as np

            def post_process(dataset, nodes, clouds, points, seen, frames, args):
                masks = np.zeros((len(dataset.get_scene_points()), len(nodes)), dtype=bool)
                for column, members in enumerate(nodes):
                    masks[list(members), column] = True
                folder = f"data/prediction/{args.config}_class_agnostic"
                os.makedirs(folder)
                np.savez(f"{folder}/{args.seq_name}.npz", pred_masks=masks)
        """,
    },
}


@pytest.mark.parametrize("driver", list(MADE_UP))
def test_a_driver_brings_frames_to_a_checkout_and_its_masks_back(tmp_path, driver):
    for name, content in MADE_UP[driver].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(dedent(content))
    scene = case()
    found = peers_clustering.peer(scene, 2, driver, tmp_path)
    assert found.masks.shape == (2, len(scene.truth)) and peers_clustering.scores([scene], [found]).ap25 == 1
    assert 0 < found.projecting < found.cpu_seconds
    with pytest.raises(RuntimeError, match=f"{driver} on 2 frames: .*No module named"):
        peers_clustering.peer(scene, 2, driver, tmp_path / "absent")


def test_rows_stay_where_one_method_fails(monkeypatch, tmp_path, caplog):
    def failing(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(peers_clustering, "make_case", lambda *_: case())
    monkeypatch.setattr(peers_clustering, "peer", failing)
    (rows,) = peers.cluster([2], 1, {"insta_scene": tmp_path})
    assert [row["method"] for row in rows] == ["ours, votes", "ours, consensus"]
    assert "InstaScene has no row at 2 frames: out of memory" in caplog.text
    assert peers.revision(tmp_path) == "unknown"  # no checkout of git


def test_what_is_not_given_is_left_out(tmp_path, monkeypatch, caplog):
    row = {"method": "ours, votes", "frames": 60}
    monkeypatch.setattr(
        peers, "cluster", lambda _frames, _scenes, checkouts: [[{**row, "given": len(checkouts)}]]
    )
    monkeypatch.setattr("sys.argv", ["peers", "--output", str(tmp_path / "peers.json")])
    with caplog.at_level("INFO"):
        peers.main()
    assert '"given": 0' in (tmp_path / "peers.json").read_text()
    for sentence in ("MaskClustering is left out: give its checkout with --mask-clustering.",
                     "Splatting is left out: give the folder of recorded sets with --data."):  # fmt: skip
        assert sentence in caplog.text


# ── splatting ─────────────────────────────────────────────────────────────────────────────────────


def ellipsoid_file(path, rows):
    """A 3DGS file of degree 0; rows of (position, colour, opacity, scales)."""
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
    names += [f"scale_{i}" for i in range(3)] + [f"rot_{i}" for i in range(4)]
    values = [
        [*position, *((np.array(color) - 0.5) / 0.28209479), np.log(opacity / (1 - opacity)), *np.log(scales),
         1, 0, 0, 0]
        for position, color, opacity, scales in rows
    ]  # fmt: skip
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    head += [f"property float {name}" for name in names] + ["end_header", ""]
    path.write_bytes("\n".join(head).encode() + np.array(values, dtype="<f4").tobytes())
    return path


def test_ellipsoids_are_blended_from_the_front_to_the_background(tmp_path):
    red, green = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    middle = np.array([0.5, 0.5]) / 40.0  # of the pixel whose corner is the principal point
    rows = [((*(4 * middle), 4), green, 0.8, (0.5,) * 3), ((*(2 * middle), 2), red, 0.6, (0.2, 0.1, 0.3))]
    scene = read_ellipsoids(ellipsoid_file(tmp_path / "a.ply", rows))
    image = render_ellipsoids(scene, CAMERA, np.eye(4), np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(image[15, 20], [0.6, 0.4 * 0.8, 0.4 * 0.2], atol=1e-5)
    # Four pixels to the right the red one has exp(−½·4²/(fx·0.2/2)² + 0.3) left.
    alpha = 0.6 * np.exp(-0.5 * 16 / ((40 * 0.2 / 2) ** 2 + 0.3))
    assert image[15, 24, 0] == pytest.approx(alpha, rel=2e-3)  # the third axis leans a little
    moved = np.eye(4)
    moved[0, 3] = 9.0
    beside = render_ellipsoids(scene, CAMERA, moved, np.array([0.0, 0.0, 1.0]))
    np.testing.assert_array_equal(beside, np.broadcast_to([0, 0, 1], beside.shape))


def test_files_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "points.ply"
    path.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n")
    with pytest.raises(ValueError, match="is not a binary PLY of Gaussians"):
        read_ellipsoids(path)


def test_images_are_cropped_to_their_principal_point():
    frame = wall().with_(camera=replace(CAMERA, cx=22.3, cy=13.9))
    camera = peers_splatting.centred(frame).camera
    assert (camera.width, camera.height) == (35, 28)
    assert abs(camera.cx - camera.width / 2) <= 0.5 and abs(camera.cy - camera.height / 2) <= 0.5


def test_a_process_is_followed_by_what_it_prints():
    code = "for i in range(1, 4): sum(range(2_000_000)); print(f'Step {i}: 0.1 (9%)', flush=True)"
    moments = peers_splatting.follow([sys.executable, "-c", code])
    assert list(moments) == [1, 2, 3]
    assert 0 < moments[1].seconds < moments[3].seconds
    assert moments[1].cpu_seconds <= moments[3].cpu_seconds
    with pytest.raises(RuntimeError, match="failed: no such project"):
        peers_splatting.follow([sys.executable, "-c", "import sys; sys.exit('no such project')"])


def test_psnr_is_that_of_valid_pixels():
    valid = HALVES == 1
    frame = wall().with_(rgb=np.zeros((30, 40, 3), np.uint8), valid=valid)
    color = np.where(valid[..., None], 0.1, 5.0) * np.ones(3)
    assert peers_splatting.psnr_of(frame, color) == pytest.approx(20.0)


# ── the page ──────────────────────────────────────────────────────────────────────────────────────


def test_the_goal_is_reached_between_two_rows():
    rows = [{"psnr": psnr, "seconds": s} for psnr, s in ((25.0, 10.0), (26.0, 20.0), (28.0, 60.0))]
    assert peers_tables.time_to(27.0, rows, "seconds") == pytest.approx(40.0)
    assert peers_tables.time_to(24.0, rows, "seconds") == 10.0
    assert peers_tables.time_to(29.0, rows, "seconds") is None


def test_the_page_has_a_row_per_method():
    quality = {"scenes": 3, "true_objects": 10, "instances": 9.5, "ap": 0.8, "ap50": 0.9, "ap25": 0.95,
               "ap50_own_sureness": 1.0, "mark": ""}  # fmt: skip
    rows = [
        {"method": method, "frames": frames, "masks": 10 * frames, "cpu_seconds": frames * s + 1,
         "projecting_cpu_seconds": 1.0, **quality, **peer}
        for method, s, peer in (("ours, votes", 0.1, {}), ("MaskClustering", 1.0, {"peer": "abc"}))
        for frames in (60, 200)
    ]  # fmt: skip
    curve = [
        {"method": method, "iterations": 100 * i, "seconds": s, "cpu_seconds": 2 * s, "psnr": psnr,
         "gaussians": 20_000, "mark": ""}
        for method, psnrs in (("ours", (25, 28)), ("OpenSplat, its defaults", (20, 22)))
        for i, (s, psnr) in enumerate(zip((10, 40), psnrs), start=1)
    ]  # fmt: skip
    page = peers_tables.peers({"clustering": rows, "splatting": curve})
    assert "| ours, votes | 0.80 / 0.90 (1.00) / 0.95, 9.5 |" in page
    assert "| MaskClustering (abc) | 0.80 / 0.90 / 0.95, 9.5 |" in page
    assert "| MaskClustering (abc) | 61.0 (1.0) | 201.0 (1.0) | 0.8" in page
    assert "| ours | 200 | 40 | 80 | 28.0 | 20k |" in page
    assert (
        "27 dB after: ours: 30 s (processor 60 s); OpenSplat, its defaults: not within 40 s (22.0 dB" in page
    )
