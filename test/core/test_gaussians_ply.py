"""Gaussian PLY files: exact round trip, other tools' layouts, broken files."""

import numpy as np
import pytest
import torch

from instascene_core.errors import InputError
from instascene_core.gaussians import GaussianModel
from instascene_core.gaussians_ply import read_gaussians, write_gaussians
from instascene_core.transforms import matrix_from_quaternion


def random_model(n: int = 50, degree: int = 3, features: bool = False) -> GaussianModel:
    generator = torch.Generator().manual_seed(degree)

    def rand(*shape):
        return torch.randn(*shape, generator=generator)

    return GaussianModel(
        rand(n, 3), rand(n, 4), rand(n, 2), rand(n), rand(n, (degree + 1) ** 2, 3),
        rand(n, 16) if features else None,
    )  # fmt: skip


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("features", [False, True])
def test_round_trip_keeps_every_bit(tmp_path, degree, features):
    model = random_model(degree=degree, features=features)
    ids = np.arange(-1, 49, dtype=np.int32)
    write_gaussians(tmp_path / "scene.ply", model, ids)
    back = read_gaussians(tmp_path / "scene.ply")
    for name in ("means", "quaternions", "log_scales", "logit_opacities", "sh", "features"):
        expected, got = getattr(model, name), getattr(back.gaussians, name)
        assert (expected is None) == (got is None)
        if expected is not None:
            assert torch.equal(expected, got), name
    assert np.array_equal(back.instance_ids, ids)
    assert [p.name for p in tmp_path.iterdir()] == ["scene.ply"]  # no temporary file left


def test_no_gaussians(tmp_path):
    write_gaussians(tmp_path / "empty.ply", random_model(0))
    assert len(read_gaussians(tmp_path / "empty.ply").gaussians) == 0


def test_layout_is_what_viewers_expect(tmp_path):
    model = random_model(2, degree=1)
    write_gaussians(tmp_path / "scene.ply", model)
    data = (tmp_path / "scene.ply").read_bytes()
    header, body = data.split(b"end_header\n")
    names = [line.split()[-1] for line in header.decode().splitlines() if line.startswith("property")]
    expected = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    expected += [f"f_rest_{i}" for i in range(9)]
    expected += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert names == [*expected, "instance_id"]
    first = np.frombuffer(body, "<f4")[: len(expected)]
    # f_rest is channel-major: f_rest_1 is red's second coefficient above degree 0.
    assert first[names.index("f_rest_1")] == model.sh[0, 2, 0]
    assert first[names.index("f_rest_3")] == model.sh[0, 1, 1]
    assert first[names.index("scale_2")] < model.log_scales[0].min()


def third_party_file(path, columns: dict[str, np.ndarray], form: str) -> None:
    n = len(next(iter(columns.values())))
    header = ["ply", f"format {form} 1.0", f"element vertex {n}"]
    header += [f"property float {name}" for name in columns] + ["end_header", ""]
    rows = np.stack(list(columns.values()), axis=1)
    if form == "ascii":
        body = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in rows).encode()
    else:
        body = rows.astype(">f4" if "big" in form else "<f4").tobytes()
    path.write_bytes("\n".join(header).encode() + body)


def gaussian_columns(n: int, n_scales: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
    names += [f"scale_{i}" for i in range(n_scales)] + [f"rot_{i}" for i in range(4)]
    return {name: rng.normal(size=n).astype(np.float32) for name in names}


@pytest.mark.parametrize("form", ["ascii", "binary_big_endian", "binary_little_endian"])
def test_reads_two_scales_of_2dgs(tmp_path, form):
    columns = gaussian_columns(7, 2)
    third_party_file(tmp_path / "other.ply", columns, form)
    back = read_gaussians(tmp_path / "other.ply")
    assert back.instance_ids is None
    assert np.array_equal(back.gaussians.log_scales[:, 1].numpy(), columns["scale_1"])
    assert np.array_equal(back.gaussians.means[:, 2].numpy(), columns["z"])


def test_thinnest_axis_of_3dgs_becomes_the_normal(tmp_path):
    columns = gaussian_columns(30, 3)
    third_party_file(tmp_path / "other.ply", columns, "binary_little_endian")
    model = read_gaussians(tmp_path / "other.ply").gaussians
    scales = np.stack([columns[f"scale_{i}"] for i in range(3)], axis=1)
    rotations = matrix_from_quaternion(np.stack([columns[f"rot_{i}"] for i in range(4)], axis=1))
    thinnest = np.take_along_axis(rotations, scales.argmin(axis=1)[:, None, None], axis=2)[..., 0]
    assert np.allclose(model.normals.numpy(), thinnest, atol=1e-5)
    # The same ellipsoid's tangent covariance, whichever order the tangents are named in.
    kept = np.sort(model.log_scales.numpy(), axis=1)
    assert np.allclose(kept, np.sort(scales, axis=1)[:, 1:])
    tangent_u = model.rotations.numpy()[:, :, 0]
    owner = np.abs(np.einsum("nij,ni->nj", rotations, tangent_u)).argmax(axis=1)
    assert np.allclose(np.take_along_axis(scales, owner[:, None], axis=1)[:, 0], model.log_scales[:, 0])


def test_broken_files_say_what_is_wrong(tmp_path):
    good = tmp_path / "good.ply"
    write_gaussians(good, random_model())
    data = good.read_bytes()
    nan = random_model()
    nan.means[3, 1] = float("nan")
    write_gaussians(tmp_path / "nan.ply", nan)
    cases = {
        "absent.ply": (None, "cannot be read"),
        "text.ply": (b"hello", "not a PLY"),
        "short.ply": (data[:-10], "cut short: 50 Gaussians announced, 49 there"),
        "header.ply": (data.replace(b"property float y", b"property flaot y"), "header"),
        "cloud.ply": (data.replace(b"opacity", b"opecity"), "not a file of Gaussians: it has no opacity"),
        "rest.ply": (data.replace(b"f_rest_44", b"g_rest_44"), "44 f_rest"),
        "nan.ply": ((tmp_path / "nan.ply").read_bytes(), "NaN"),
    }
    for name, (content, message) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_gaussians(tmp_path / name)


def test_unwritable_place_and_wrong_ids(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="Cannot write"):
        write_gaussians(tmp_path / "file" / "scene.ply", random_model())
    with pytest.raises(InputError, match="Instance ids"):
        write_gaussians(tmp_path / "scene.ply", random_model(), np.zeros(3, dtype=np.int32))
