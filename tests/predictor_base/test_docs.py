"""The page about the API, in a real browser of a phone's size."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.predictor_server import ROOT, free_port, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMEDRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
SOURCE = '''
    from typing import TypedDict
    class Flower(TypedDict):
        sepal_length: float
    class PythonPredictor:
        """Tells flowers apart."""
        example = {"sepal_length": 5.1}
        def predict(self, payload: Flower):
            return {"label": "setosa", "seen": payload["sepal_length"]}
'''


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

    def close(self) -> None:
        self._http.delete(f"/session/{self._session}")
        self._http.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
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
        found = Browser(port, tmp_path / "profile")
        yield found
        found.close()
    finally:
        driver.terminate()
        driver.wait(10)


def test_the_page_describes_and_tries_the_api(tmp_path: Path, browser: Browser) -> None:
    with serving(tmp_path, SOURCE) as server:
        browser.do("url", url=f"{server.url}/docs")
        until(lambda: browser.run("document.querySelector('#payload').value") != "")
        text = browser.run("document.body.innerText")
        for words in (
            "iris-0123456789ab",
            "ready",
            "Tells flowers apart.",
            "sepal_length",
            "required",
        ):
            assert words in text
        browser.click("#send")
        until(lambda: "setosa" in browser.run("document.querySelector('#answer').textContent"))
        assert browser.run("document.querySelector('#outcome').textContent").startswith("200 ·")
        browser.run("document.querySelector('#payload').value = '{'")
        browser.click("#send")
        until(lambda: "400" in browser.run("document.querySelector('#outcome').textContent"))
        width = browser.run("document.documentElement.scrollWidth")
        assert width <= browser.run("document.documentElement.clientWidth"), "no sideways scrolling"
        small = browser.run(
            "[...document.querySelectorAll('button')].filter(b => b.offsetHeight < 44).length"
        )
        assert small == 0, "buttons are large enough for a thumb"


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = (ROOT / "predictor_base" / "process" / "docs.html").read_text()
    assert re.findall(r"""(?:src|href)=["'](?!data:|openapi)""", page) == []
    assert "http://" not in page
    assert "https://" not in page
