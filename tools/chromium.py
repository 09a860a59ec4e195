"""A headless Chromium, driven over its debugging pipe: screenshots, the console, every request it makes.

Nothing but Chromium itself (Debian and Ubuntu: `apt install chromium`) is needed.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# It runs as root in containers, has no GPU there (WebGL by software), and shall call nobody.
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip


def find_chromium() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Chromium:
    """One page.  A context manager."""

    def __init__(self, executable: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium")
        there, self._out = os.pipe()  # it reads commands from its descriptor 3 ...
        self._in, back = os.pipe()  # ... and writes answers to 4
        command = [executable, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]

        def connect() -> None:
            held, answers = os.dup(there), os.dup(back)
            os.dup2(held, 3)
            os.dup2(answers, 4)

        self._process = subprocess.Popen(
            command, preexec_fn=connect, close_fds=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(there)
        os.close(back)
        os.set_blocking(self._in, False)
        self._number, self._session, self._rest = 0, "", b""
        self.requests: list[str] = []  # addresses asked for, other than data:
        self.errors: list[str] = []  # what the console, and uncaught exceptions, say
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)
        for _attempt in range(20):  # its children may still write there
            try:
                self._profile.cleanup()
                return
            except OSError:
                time.sleep(0.1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol; RuntimeError with its words where it fails."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for answer in self._messages():
                if answer.get("id") == self._number:
                    if "error" in answer:
                        raise RuntimeError(f"{method}: {answer['error']['message']}")
                    return answer["result"]
            time.sleep(0.01)
        raise RuntimeError(f"Chromium does not answer {method}.")

    def _messages(self) -> list[dict[str, Any]]:
        """What has arrived; events are noted."""
        try:
            while chunk := os.read(self._in, 1 << 20):
                self._rest += chunk
        except BlockingIOError:
            pass
        *whole, self._rest = self._rest.split(b"\0")
        messages = [json.loads(text) for text in whole]
        for message in messages:
            self._note(message.get("method", ""), message.get("params", {}))
        return messages

    def _note(self, event: str, facts: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent" and not facts["request"]["url"].startswith("data:"):
            self.requests.append(facts["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            details = facts["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Runtime.consoleAPICalled" and facts["type"] == "error":
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in facts["args"]))
        elif event == "Log.entryAdded" and facts["entry"]["level"] == "error":
            self.errors.append(f"{facts['entry']['text']} {facts['entry'].get('url', '')}")

    def open(
        self, address: str, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1
    ) -> None:
        """Show a page in a window of that size, CSS pixels of `scale` device pixels; waits for its load."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
            mobile=width < 500,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)
        self.wait(lambda: self.run("document.readyState") == "complete", 60)

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        return result["result"].get("value")

    def wait(self, done: Callable[[], bool], seconds: float) -> None:
        """Until `done`; TimeoutError after so many seconds."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise TimeoutError("The page did not come to what was waited for.")
            time.sleep(0.1)

    def place_of(self, text: str) -> tuple[float, float]:
        """The middle of the last element that shows exactly this text, scrolled into view; LookupError."""
        found = self.run(
            f"""(() => {{
            const shows = (e) => e.children.length === 0 && e.textContent.trim() === {json.dumps(text)};
            const element = [...document.querySelectorAll("body *")].filter(shows).pop();
            if (!element) return null;
            element.scrollIntoView({{block: "nearest", behavior: "instant"}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        if found is None:
            raise LookupError(f"Nothing in the page shows '{text}'.")
        return found[0], found[1]

    def click(self, x: float, y: float) -> None:
        """The left button at a place of the window, CSS pixels."""
        self.drag((x, y), (x, y))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """The left button pressed at `start`, released at `end`."""
        at = {"button": "left", "clickCount": 1, "buttons": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=start[0], y=start[1])
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], **at)
        if start != end:
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=end[0], y=end[1], **at)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **at)

    def screenshot(self, path: Path, whole: bool = False, quality: int = 82) -> Path:
        """What the window shows, or the whole page, as PNG or WebP, by suffix."""
        kind = path.suffix.removeprefix(".")
        options: dict[str, Any] = {"format": kind, "captureBeyondViewport": whole}
        if kind != "png":
            options["quality"] = quality
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **options)["data"]))
        return path
