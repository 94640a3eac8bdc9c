"""The page about the API, in a real browser of a phone's size."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import Browser, browsing
from tests.support.predictor_server import ROOT, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with browsing(tmp_path / "profile") as found:
        yield found


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
