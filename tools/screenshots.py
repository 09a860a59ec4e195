"""Pictures of the report and of the viewer for the docs, taken in a headless Chromium (needs viser).

    python tools/screenshots.py OUT [--into docs/images]

OUT is the folder of a finished run.  Those of docs/images are of `instascene synth --objects 6 --views 30
--seed 3`.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from instascene_core.browser import serve
from tools.chromium import Chromium, find_chromium

DESK, PAGE, PHONE = (1280, 860), (1280, 1450), (390, 844)  # CSS pixels
MOST_BYTES = 300_000  # of a picture
DRAWING_S = 30.0  # the viewer draws slowly without a GPU


def report(page: Chromium, folder: Path, into: Path) -> None:
    """The report on a desk and on a phone, light and dark."""
    address = (folder / "report.html").absolute().as_uri()
    for name, size, scale in (("desk", PAGE, 1.0), ("phone", PHONE, 1.5)):
        for dark in (False, True):
            page.open(address, *size, dark=dark, scale=scale)
            if name == "phone":
                page.run("document.querySelector('.card').scrollIntoView({behavior: 'instant'})")
            time.sleep(0.5)
            page.screenshot(into / f"report_{name}{'_dark' if dark else ''}.webp")
    page.open(address, 1280, 760)
    page.run("document.querySelector('#views').scrollIntoView({behavior: 'instant'})")
    time.sleep(0.5)
    page.screenshot(into / "report_views.webp")


def viewer(page: Chromium, folder: Path, into: Path) -> None:
    """The viewer with an object chosen, with what was generated, with its cameras, dark, and on a phone."""
    server = serve(folder, 8140, lambda _: None, wait=False)
    address = f"http://localhost:{server.get_port()}"  # type: ignore[attr-defined]
    try:
        page.open(address, *DESK)
        _drawn(page)
        page.click(DESK[0] / 2, DESK[1] / 2)
        time.sleep(5)
        page.screenshot(into / "viewer_desk.webp")
        page.click(*page.place_of("View"))
        time.sleep(1)
        for switch in ("Cameras", "Dark panel"):
            page.click(*page.place_of(switch))
        time.sleep(8)
        page.screenshot(into / "viewer_desk_dark.webp")
        for switch in ("Cameras", "Dark panel"):
            page.click(*page.place_of(switch))
        page.open(address, *PHONE, scale=1.5)
        _drawn(page)
        page.screenshot(into / "viewer_phone.webp")
        page.click(*page.place_of("View"))
        time.sleep(1)
        page.click(*page.place_of("Dark panel"))
        time.sleep(5)
        page.screenshot(into / "viewer_phone_dark.webp")
    finally:
        server.stop()  # type: ignore[attr-defined]


def _drawn(page: Chromium) -> None:
    """Wait until the scene has appeared, and put away what viser says of the missing GPU."""
    time.sleep(DRAWING_S)
    page.run(
        "document.querySelectorAll('.mantine-Notification-closeButton').forEach((button) => button.click())"
    )
    time.sleep(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of a finished run")
    parser.add_argument("--into", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", choices=("report", "viewer"))
    words = parser.parse_args()
    executable = find_chromium()
    if executable is None:
        sys.exit("There is no Chromium; on Debian: apt install chromium.")
    with Chromium(executable) as page:
        for name, take in (("report", report), ("viewer", viewer)):
            if words.only in (None, name):
                take(page, words.folder, words.into)
    for path in sorted(words.into.glob("report_*.webp")) + sorted(words.into.glob("viewer_*.webp")):
        if path.stat().st_size > MOST_BYTES:
            sys.exit(f"{path} has {path.stat().st_size} bytes, more than {MOST_BYTES}.")


if __name__ == "__main__":
    main()
