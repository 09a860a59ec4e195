"""report.html: what it says, that it asks no network, and how Chromium shows it."""

import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from reported_scene import EVIL, Page, object_facts, write_reported_scene

from instascene_core.config import Config
from instascene_core.viewer.report import figures as fig
from instascene_core.viewer.report import metric_rows, report_page

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tools.chromium import Chromium, find_chromium

METRICS = {
    "seconds": {"reconstruct": 76.3, "complete": 140.4},
    "memory_mb": {"reconstruct": 874.6, "complete": 1120.0},
    "peak_memory_mb": 1120.0,
    "psnr": 31.25,
    "gaussians": 40960,
    "instances": 2,
}


def page_of(folder: Path, objects: list[dict], metrics: dict | None = None, **description) -> Page:
    write_reported_scene(folder, objects, **description)
    return Page(report_page(folder, METRICS if metrics is None else metrics))


def test_the_page_holds_all_it_shows(tmp_path):
    page = page_of(tmp_path / "out", [object_facts(1), object_facts(2)])
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:")
    assert all(a["src"].startswith("data:image/webp;base64,") for a in page.all("img"))
    links = [a["href"] for a in page.all("a")]
    assert "objects/2/mesh.glb" in links and "scene.json" in links
    assert not [link for link in links if re.match(r"\w+:|//|/", link)]
    assert all((tmp_path / "out" / link).is_file() for link in links)
    assert len(page.all("article")) == 2 and "width=device-width" in str(page.all("meta"))


def test_figures_are_rounded_and_have_units(tmp_path):
    text = page_of(tmp_path / "out", [object_facts(1), object_facts(2)]).text
    for words in (
        "2 complete objects from 30 images", "Recording kitchen", "40,960 Gaussians", "closely (31.2 dB)",
        "12.3 × 8.1 × 20.4 cm", "160 g (26 g to 600 g)", "± 0.5 mm", "400 cm³",
        "65 % of its surface was seen",
        "likely right 90 %", "The bottom was not seen.", "Fit the Gaussians", "1 min 16 s", "875 MB",
        "3 min 37 s and at most 1.1 GB of memory",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("call", "value", "said"),
    [
        (fig.mass, 0.0363, "36 g"), (fig.mass, 1.26, "1.3 kg"), (fig.mass, None, "unknown"),
        (fig.volume, 2.34e-3, "2.3 litres"), (fig.volume, 8.97e-5, "90 cm³"), (fig.duration, 3.14, "3.1 s"),
        (fig.duration, 119.6, "2 min 0 s"),
        (fig.memory, 640.2, "640 MB"), (fig.percent, float("nan"), "unknown"),
        (fig.rounded, 0.0, "0"), (fig.rounded, 12345.0, "12,000"), (fig.figure, float("inf"), "unknown"),
    ],
)  # fmt: skip
def test_a_figure(call, value, said):
    assert call(value).replace("\u00a0", " ") == said


def test_what_is_measured_of_single_objects_is_left_to_the_file():
    measured = {"psnr": 30.125, "seconds": {"read": 2.0}, "resting": {"1": {"shift_m": 0.001}}}
    assert metric_rows(measured) == [["psnr", "30.12"], ["seconds: read", "2"]]


def test_nothing_of_a_file_becomes_a_tag(tmp_path):
    evil = object_facts(1, notes=[EVIL], prior=EVIL, material=EVIL)
    metrics = {**METRICS, EVIL: EVIL, "plausibility": {"warning": EVIL}, "seconds": {EVIL: 2.0}}
    metrics["accuracy"] = {
        "objects": [{"instance_id": 1, "name": EVIL, "volume_iou": 0.8, "observed_offset": 0.0}]
    }
    parameters = {**asdict(Config()), "region": EVIL, EVIL: 3}
    page = page_of(
        tmp_path / "out",
        [evil],
        metrics,
        source=f"/data/{EVIL}",
        parameters=parameters,
        instascene_version=EVIL,
    )
    assert len(page.all("script")) == 1 and not [a for a in page.all("img") if "example" in a["src"]]
    assert page.text.count("<script>alert(1)</script>") >= 9


def test_the_summary_says_how_far_objects_are_to_be_believed(tmp_path):
    things = [object_facts(k, confidence=c) for k, c in ((1, 0.95), (2, 0.399), (3, 0.2), (4, 0.1))]
    text = page_of(tmp_path / "a", things).text
    assert (
        "1 can be relied on; number 2 is to be checked; numbers 3 and 4 are little more than a guess" in text
    )
    assert "to be checked 40 %" in text  # as the figure beside it says
    assert "All of them can be relied on" in page_of(tmp_path / "b", [object_facts(1), object_facts(2)]).text


def test_a_scene_that_was_stopped_early_has_a_report_too(tmp_path):
    only = {"psnr": float("nan"), "gaussians": 900, "seconds": {"reconstruct": 3.0}}
    text = page_of(tmp_path / "a", [], only).text
    assert (
        "A reconstruction from 30 images" in text
        and "objects were not looked for" in text
        and "nan" not in text
    )
    text = page_of(tmp_path / "b", [], {**only, "instances": 0}).text
    assert "No object found in 30 images" in text and "Objects" not in text
    found = {"list": [{"id": 1, "kind": "object"}, {"id": 2, "kind": "object"}, {"id": 3, "kind": "outside"}]}
    text = page_of(tmp_path / "c", [], {**only, "instances": 2}, instances=found).text
    assert "2 objects are told apart; none was completed. Listed only: 1 thing outside" in text
    assert "Without a mesh: object 1, 2." in text


def test_warnings_and_what_was_compared_are_told(tmp_path):
    metrics = {
        **METRICS,
        "plausibility": {"outcome": "unclear", "warning": "The poses do not fit."},
        "mask_warnings": 2,
        "accuracy": {
            "objects": [
                {"instance_id": 1, "name": "mug 3", "volume_iou": 0.8, "observed_offset": 0.0},
                {"instance_id": 0, "name": "bowl 4", "volume_iou": 0.0, "observed_offset": None},
            ]
        },
        "settle": {
            "stay_where_they_were": 1.0,
            "objects": {"object_1": {"drift_m": 0.0042, "tilt_deg": 1.26, "penetration_m": 0.0}},
        },
    }
    text = page_of(tmp_path / "out", [object_facts(1, watertight=False)], metrics).text
    for words in (
        "The poses do not fit.", "warned 2 times", "Not watertight: object 1.",
        "1 of 2 true objects were found",
        "mug 3, overlap (IoU) 0.80", "1 of 1 objects stay", "drifts by 4.2 mm, tilts by 1.3°",
    ):  # fmt: skip
        assert words in text, words


def test_settings_are_told_where_they_differ(tmp_path):
    config = Config()
    changed = replace(config, reconstruction=replace(config.reconstruction, iterations=700), max_frames=77)
    parameters = json.loads(json.dumps(asdict(changed)))
    text = page_of(tmp_path / "a", [], parameters={**parameters, "of_old": 3}).text
    assert f"reconstruction.iterations 700 {config.reconstruction.iterations:,}" in text
    assert f"max_frames 77 {config.max_frames}" in text and "of_old 3 of another version" in text
    assert "completion.prior" not in text
    text = page_of(tmp_path / "b", [], parameters=json.loads(json.dumps(asdict(config)))).text
    assert "Everything was left at its default." in text


def test_an_old_or_odd_scene_has_a_report(tmp_path):
    """Without mass, texture, pictures, scene.json; metrics of other types."""
    facts = {k: v for k, v in object_facts(3).items() if not k.startswith(("mass", "material", "friction"))}
    write_reported_scene(tmp_path / "out", [facts], pictures=False)
    (tmp_path / "out" / "scene.json").unlink()
    odd = {
        "seconds": [1],
        "accuracy": 3,
        "settle": None,
        "plausibility": "fine",
        "psnr": "good",
        "memory_mb": 4,
    }
    page = Page(report_page(tmp_path / "out", odd))
    assert "Object 3" in page.text and "Mass" not in page.text and not page.all("img")


# ── in a browser ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def browser():
    executable = find_chromium()
    if executable is None:
        pytest.skip("there is no Chromium (apt install chromium)")
    with Chromium(executable) as chromium:
        yield chromium


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "out"
    write_reported_scene(folder, [object_facts(k) for k in range(1, 6)], parameters=asdict(Config()))
    (folder / "report.html").write_bytes(report_page(folder, METRICS))
    return (folder / "report.html").as_uri()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_a_desk_and_asks_nobody(browser, address, width, dark):
    browser.requests.clear()
    browser.errors.clear()
    browser.open(address, width, 800, dark)
    assert browser.run("document.documentElement.scrollWidth") == width
    light = sum(map(int, re.findall(r"\d+", browser.run("getComputedStyle(document.body).backgroundColor"))))
    assert (light < 150) if dark else (light > 600)
    browser.run("for (const image of document.images) image.loading = 'eager'")
    browser.wait(lambda: browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)"), 20)
    assert browser.errors == [] and set(browser.requests) == {address}


def test_an_object_turns_and_shows_its_shadings(browser, address):
    browser.open(address, 1280, 900)
    box = "document.querySelector('#object_1 .frames')"
    browser.run(f"{box}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    x, y, wide = browser.run(
        f"(() => {{ const b = {box}.getBoundingClientRect(); return [b.x, b.y, b.width]; }})()"
    )
    browser.drag((x + 0.8 * wide, y + 100), (x + 0.3 * wide, y + 100))
    assert browser.run(f"{box}.style.getPropertyValue('--view')") == "3"
    browser.run("document.querySelector('#object_1 .turn button').click()")
    assert browser.run(f"{box}.style.getPropertyValue('--row')") == "1"
    shown = "[...document.querySelectorAll('#object_1 .frames img')].map(i => i.offsetWidth > 0)"
    assert browser.run(shown) == [True, False]
    browser.run("document.querySelector('label[for=object_1_observed]').click()")
    assert browser.run(shown) == [False, True]


def test_without_scripts_the_pictures_scroll(browser, address):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(address, 390, 800)
        box = "document.querySelector('#object_1 .frames')"
        assert browser.run(
            f"{box}.scrollWidth > 7 * {box}.clientWidth && {box}.scrollHeight > {box}.clientHeight"
        )
        assert browser.run(f"getComputedStyle({box}).overflowX") == "auto"
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
