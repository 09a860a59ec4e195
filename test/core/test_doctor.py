"""`instascene doctor`: every part is looked at, absent ones come with what to do."""

from pathlib import Path

import pytest

from instascene_core import cli, doctor
from instascene_core.errors import InputError
from instascene_core.rendering import library


def test_this_machine_is_complete(capsys):
    cli.main(["doctor"])  # ends without SystemExit: nothing required is missing
    shown = capsys.readouterr().out
    kernel = doctor.examine()[0]
    assert kernel.found and kernel.version.split(",")[0] in library.INSTRUCTION_SETS
    for part in ("C++ kernel", "torch", "open3d", "ROS: rclpy"):
        assert part in shown


def test_missing_parts_are_named_with_what_to_do(monkeypatch, capsys, tmp_path):
    library.load_instruction_set.cache_clear()
    library._chosen.cache_clear()
    monkeypatch.setattr(library, "LIBRARY_FOLDER", tmp_path)
    monkeypatch.setattr(doctor, "LIBRARIES", (("no_such_module", ("none",), True, "pip install none"),))
    try:
        with pytest.raises(SystemExit) as exit_:
            cli.main(["doctor"])
    finally:
        library.load_instruction_set.cache_clear()
        library._chosen.cache_clear()
    shown = capsys.readouterr()
    assert exit_.value.code == 1
    assert "C++ kernel, no_such_module" in shown.err and len(shown.err.strip().splitlines()) == 1
    assert "make setup" in shown.out and "pip install none" in shown.out


def test_it_knows_every_dependency_of_the_package():
    """What pyproject.toml declares, doctor looks for (but for the parts of the command line itself)."""
    tomllib = pytest.importorskip("tomllib")  # Python >= 3.11
    project = tomllib.loads((Path(doctor.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    declared = project["dependencies"] + optional["synthetic"] + optional["segmenters"]
    names = {line.split(">")[0].lower() for line in declared} - {"rich", "tyro", "libusb-package"}
    known = {name.lower() for _, distributions, _, _ in doctor.LIBRARIES for name in distributions}
    known |= {library for _, library, _, _ in doctor.SEGMENTERS}
    assert names <= known


def test_an_unusable_kernel_is_a_finding_not_a_crash(monkeypatch):
    def refuse():
        raise InputError("INSTASCENE_KERNEL_ISA=sse9 is not one of the known.")

    monkeypatch.setattr(library, "kernel", refuse)
    finding = doctor.examine()[0]
    assert not finding.found and finding.required and "sse9" in finding.advice


def test_segmenters_of_public_weights_come_with_where_the_weights_go(monkeypatch):
    findings = {f.part: f for f in doctor.examine() if f.part.startswith("masks: ")}
    assert set(findings) == {"masks: mask2former", "masks: sam2", "masks: cropformer"}
    assert not any(f.required for f in findings.values())
    found = {name: object() if name == "transformers" else None for name in ("transformers", "detectron2")}
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: found.get(name))
    findings = {f.part: f for f in doctor.examine()}
    assert (
        findings["masks: sam2"].found and "segmentation.public.checkpoint" in findings["masks: sam2"].version
    )
    missing = findings["masks: cropformer"]
    assert not missing.found and "install detectron2" in missing.advice
    assert "segmentation.public.cropformer.root" in missing.advice and ".pth" in missing.advice
