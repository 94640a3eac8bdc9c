"""A real browser without a screen, of a phone's size unless a test asks for another."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.predictor_server import until

CHROMEDRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """Chromium, spoken to by the WebDriver protocol."""

    def __init__(self, port: int, profile: Path) -> None:
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=390,844",
            f"--user-data-dir={profile}",
        ]
        options = {"goog:chromeOptions": {"args": arguments}}
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        asked = {"capabilities": {"alwaysMatch": {"browserName": "chrome", **options}}}
        self._session = self._http.post("/session", json=asked).json()["value"]["sessionId"]

    def do(self, command: str, **arguments: Any) -> Any:
        path = f"/session/{self._session}/{command}"
        answer = self._http.post(path, json=arguments)
        answer.raise_for_status()
        return answer.json()["value"]

    def run(self, script: str) -> Any:
        return self.do("execute/sync", script=f"return {script}", args=[])

    def click(self, selector: str) -> None:
        element = self.do("element", using="css selector", value=selector)[ELEMENT]
        self.do(f"element/{element}/click")

    def opens(
        self, path: Path, *, width: int = 390, height: int = 844, scheme: str = "light"
    ) -> None:
        """Show a file in a window of this size, with the colours that the person prefers."""
        self.tells(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.tells("Emulation.setEmulatedMedia", features=features)
        self.do("url", url=path.as_uri())

    def tells(self, command: str, **arguments: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self.do("goog/cdp/execute", cmd=command, params=arguments)

    def takes_picture(self, path: Path) -> None:
        """Of the whole page."""
        taken = self.tells("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def close(self) -> None:
        self._http.delete(f"/session/{self._session}")
        self._http.close()


@contextlib.contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    if CHROMEDRIVER is None:
        pytest.skip("needs chromedriver")
    port = free_port()
    driver = subprocess.Popen([CHROMEDRIVER, f"--port={port}"], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            return bool(httpx.get(f"http://127.0.0.1:{port}/status").json()["value"]["ready"])
        except httpx.TransportError:
            return False

    try:
        until(answers)
        found = Browser(port, profile)
        yield found
        found.close()
    finally:
        driver.terminate()
        driver.wait(60)
