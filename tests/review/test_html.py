"""The page of a check, in a real browser: with hostile words in it, on a phone, in the dark, printed."""

from __future__ import annotations

import base64
import dataclasses
import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.errors import Problem
from gitops_ml.gitops.differences import FieldChange, ObjectChange
from gitops_ml.policy.rule import RuleFinding
from gitops_ml.release.replicas_over_time import Traffic, replica_week
from gitops_ml.review.reports.html import html_page, side_by_side
from gitops_ml.review.reports.markdown_comment import comment
from gitops_ml.review.reports.page_charts import Weeks
from gitops_ml.review.reports.terminal_lines import terminal_lines
from gitops_ml.review.review import (
    FileChange,
    PackageChange,
    RatedChange,
    ReleaseReview,
    Rollout,
    State,
)
from tests.support.browser import Browser, browsing
from tests.support.pipeline import api, project_of
from tests.support.reviews import PRICED, release_review, review_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MONDAY = datetime(2026, 1, 5, tzinfo=timezone.utc)
WEEK = timedelta(days=7)
CALM = Rollout(pods="no restart", restarts=False, downtime=False)
OFFICE = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "replicas": 4}
HOSTILE = (
    "<script>document.title='run'</script>",
    '"><img src=x onerror="document.title=\'run\'">',
    "'--></style><svg onload=document.title='run'>",
    "</title></textarea><a href=\"javascript:document.title='run'\">here</a>",
    "{{ 7*7 }}{% raw %}\u202egnp\x1b[2J\x00",
)


def changed(number: int = 0) -> ReleaseReview:
    name = f"model-{number}"
    before = api(name=name, compute={"cpu": "500m"}, autoscaling={"max_replicas": 10})
    after = api(
        name=name, compute={"cpu": "2"}, autoscaling={"max_replicas": 12, "schedule": [OFFICE]}
    )
    return release_review(before, after, project=project_of(PRICED))


def weeks(release: ReleaseReview, *loads: float) -> Weeks:
    points = tuple((MONDAY + timedelta(hours=n), load) for n, load in enumerate(loads))
    return Weeks(*(
        replica_week(side.spec.autoscaling, MONDAY, MONDAY + WEEK, traffic=Traffic(points))
        if side and side.spec
        else None
        for side in (release.before, release.after)
    ))  # fmt: skip


def page_of(*releases: ReleaseReview, **facts: Any) -> str:
    found = {release.directory: weeks(release, *range(40)) for release in releases}
    return html_page(review_of(releases, **facts), weeks=found)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser")) as found:
        yield found


def hostile_release() -> ReleaseReview:
    """Every text of a release that comes from documents is hostile, also where a schema forbids it."""
    one = changed()
    assert one.after is not None
    assert one.before is not None
    words = "".join(HOSTILE)
    values = {
        "api": {"name": words},
        "route": {"type": words, "hosts": list(HOSTILE), "path": words},
        "autoscaling": {"minReplicas": words, "maxReplicas": words, "triggers": [{"type": words}]},
        "resources": {"cpu": words, "memory": words, "gpu": {"count": words, "resource": words}},
        "image": {"repository": words, "tag": words},
        "models": {"artifacts": [{"reference": words}]},
        "scheduling": {"nodeSelector": {words: words}},
        "sidecars": [{"name": words}],
    }
    side = dataclasses.replace(one.after, values=values, manifest={words: words})
    fields = (FieldChange(words, "modify", words, {words: [words]}),)
    return dataclasses.replace(
        one,
        api=words,
        after=side,
        fields=fields,
        objects=(RatedChange(ObjectChange(words, words, "modify", fields), "high", words),),
        files=(FileChange(words, "modify", 1),),
        packages=(PackageChange(words, words, words),),
        findings=(RuleFinding(words, words, words, "error", words, remedy=words),),
        rollout=dataclasses.replace(one.rollout, pods=words, why=(words,)),
    )


def test_hostile_words_are_text_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    words = "".join(HOSTILE)
    review = review_of(
        [hostile_release(), changed()],
        project=words, base=State(words, words), warnings=(words,), hand_edits=(words,),
        problems=(Problem(words, 1, 1, words, words, words, "warning"),),
    )  # fmt: skip
    page = html_page(review, prices=(words,))
    (tmp_path / "page.html").write_text(page)
    browser.opens(tmp_path / "page.html")
    assert browser.run("document.title").startswith("<script>")
    assert (
        browser.run("document.querySelectorAll('script, img, iframe, object, [onload]').length")
        == 0
    )
    assert browser.run("document.querySelectorAll('style').length") == 1
    links = browser.run("[...document.links].map(link => link.getAttribute('href'))")
    assert all(link.startswith("#") for link in links)
    assert "7*7" in browser.run("document.body.innerText")
    assert not re.search("[\x00\x1b\u202e]", page)


def test_the_page_needs_nothing_from_elsewhere_and_its_policy_allows_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    page = page_of(changed())
    assert re.findall(r"""(?:src|href|action)=["'](?!#)""", page) == []
    assert "url(" not in page
    assert "@import" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    # Words that got through would not run: the browser holds to the policy.
    forced = page.replace(
        "<h1>", "<script>document.title='run'</script><h1 onclick=x style='color:red'>"
    )
    (tmp_path / "page.html").write_text(forced)
    browser.opens(tmp_path / "page.html", width=1200)
    assert (
        browser.run("document.title")
        == "acme: This change restarts model-0 in staging without downtime."
    )
    colour = "getComputedStyle(document.querySelector('h1')).color"
    assert browser.run(colour) != "rgb(255, 0, 0)"
    # Its own style sheet is applied.
    assert browser.run("getComputedStyle(document.querySelector('h1')).fontSize") == "15px"


@pytest.mark.parametrize("count", [1, 30])
def test_nothing_is_wider_than_the_screen(browser: Browser, tmp_path: Path, count: int) -> None:
    long = "a-very-long-name-of-a-model-" + "x" * 200
    releases = [dataclasses.replace(changed(), api=f"model-{n}") for n in range(count - 1)]
    (tmp_path / "page.html").write_text(
        page_of(dataclasses.replace(changed(), api=long), *releases)
    )
    small = (
        "[...document.querySelectorAll('main > details > summary')].some(s => s.offsetHeight < 44)"
    )
    for width in (320, 390, 1200):
        browser.opens(tmp_path / "page.html", width=width)
        browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run(small) is False


CONTRAST = """(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } };
  const bad = [];
  for (const e of document.querySelectorAll('h1, p, td, th, a, code, .word, figcaption, caption, summary, li')) {
    if (!e.innerText?.trim()) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push([e.className, e.innerText.slice(0, 30), ratio]);
  }
  return bad;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_in_the_light_and_in_the_dark(
    browser: Browser, tmp_path: Path, scheme: str
) -> None:
    finding = RuleFinding("staging", "iris", "gpu", "warning", "Too many.", remedy="Take fewer.")
    gone = release_review(api(name="old"), None, project=project_of(PRICED))
    (tmp_path / "page.html").write_text(
        page_of(dataclasses.replace(changed(), findings=(finding,)), gone, warnings=("Look.",))
    )
    browser.opens(tmp_path / "page.html", width=1200, scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    dark = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    assert dark == (scheme == "dark")
    assert browser.run(CONTRAST) == []


def test_pictures_have_words_for_those_who_do_not_see_them(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(page_of(changed()))
    browser.opens(tmp_path / "page.html")
    titles = browser.run("[...document.querySelectorAll('svg > title')].map(t => t.textContent)")
    assert len(titles) == browser.run("document.querySelectorAll('svg').length") == 3
    assert "model-0 in staging: USD 10 to 101, then USD 64 to 408" in titles[0]
    assert "Pods changed" in titles[1]
    assert "at least 1 to 4 by the schedule, at most 12; with the recorded traffic" in titles[2]
    assert browser.run("document.documentElement.lang") == "en"
    assert browser.run("[...document.querySelectorAll('table')].every(t => t.rows.length)")


def test_a_printed_page_has_the_details_that_are_closed_on_the_screen(
    browser: Browser, tmp_path: Path
) -> None:
    releases = [dataclasses.replace(changed(), api=f"model-{n}") for n in range(8)]
    (tmp_path / "page.html").write_text(page_of(*releases))
    browser.opens(tmp_path / "page.html", width=1200, scheme="dark")
    pdf = base64.b64decode(browser.tells("Page.printToPDF", printBackground=True)["data"])
    assert pdf.count(b"/Type /Page\n") > 3
    browser.tells("Emulation.setEmulatedMedia", media="print")
    shown = """[...document.querySelectorAll('.topology')].every(
        picture => picture.checkVisibility() && picture.getBoundingClientRect().height > 50)"""
    assert browser.run(shown)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_printed_page_of_many_releases_has_the_details_of_those_to_look_at_first(
    browser: Browser, tmp_path: Path
) -> None:
    releases = [dataclasses.replace(changed(), api=f"model-{n}") for n in range(60)]
    (tmp_path / "page.html").write_text(page_of(*releases))
    browser.opens(tmp_path / "page.html", width=1200)
    shown = (
        "[...document.querySelectorAll('main > details')].filter(e => e.checkVisibility()).length"
    )
    assert browser.run(shown) == 60
    browser.run("document.querySelectorAll('main > details')[40].open = true")
    browser.tells("Emulation.setEmulatedMedia", media="print")
    assert browser.run(shown) == 21
    assert browser.run("document.querySelector('.paper').checkVisibility()")
    assert browser.run("document.querySelectorAll('#releases ~ div tbody tr').length") >= 60


def test_many_releases_have_bars_for_those_that_change_most_and_the_same_finding_once() -> None:
    releases = [
        dataclasses.replace(
            changed(),
            api=f"model-{n}",
            findings=(RuleFinding("staging", f"model-{n}", "gpu", "error", "Too many."),),
        )
        for n in range(40)
    ]
    page = page_of(*releases)
    assert "the other 15" in page
    assert "all of these" in page
    assert page.count("Too many.") == 1


def test_what_is_worst_comes_first_and_code_is_code() -> None:
    findings = [
        RuleFinding("staging", "model-0", name, name, f"Set `{name}.field` <b>.")
        for name in ("note", "warning", "error")
    ]
    calm = dataclasses.replace(changed(), findings=tuple(findings), rollout=CALM)
    page = page_of(calm, dataclasses.replace(changed(), api="restarts"))
    assert [page.index(f"<code>{name}.field</code>") for name in ("error", "warning", "note")] == (
        sorted(page.index(f"<code>{name}.field</code>") for name in ("note", "warning", "error"))
    )
    assert "<b>." not in page
    calmer = page_of(dataclasses.replace(calm, findings=()), *[changed(1)])
    assert calmer.index(">model-1</a>") < calmer.index(">model-0</a>")


def test_very_many_releases_have_details_for_those_to_look_at_first() -> None:
    one = dataclasses.replace(changed(), objects=(), before=None, after=None, action="add")
    stops = dataclasses.replace(changed(), api="stops", after=None, action="delete")
    releases = [dataclasses.replace(one, api=f"model-{n:04}") for n in range(2100)]
    page = html_page(review_of([*releases, stops]))
    assert len(re.findall(r"<details[^>]*>\n<summary><b>", page)) == 300
    assert "<summary><b>stops</b>" in page
    assert "1801 more are in the table only" in page
    assert "… and 101 more." in page


def test_without_prices_it_says_so_once() -> None:
    release = dataclasses.replace(changed(), cost=None)
    page = page_of(release, dataclasses.replace(release, api="other"))
    assert page.count("No prices") == 1
    review = review_of([release, dataclasses.replace(release, api="other")])
    assert comment(review).count("No prices") == 1
    lines = [text for text, _ in terminal_lines(review)]
    assert sum("No prices" in line for line in lines) == 1
    assert "USD" not in page
    assert "Cost per month" not in page


def test_the_page_is_the_same_for_the_same_change() -> None:
    assert page_of(changed()) == page_of(changed())


def test_lines_that_differ_stand_beside_each_other() -> None:
    before = "\n".join(map(str, range(30)))
    rows = side_by_side(before, before.replace("15", "fifteen").replace("29", "29\nmore"))
    assert [row.kind for row in rows].count("gap") == 1
    (row,) = [row for row in rows if row.kind == "changed"]
    assert (row.before, row.after, row.number_before) == ("15", "fifteen", 16)
    assert rows[-1].after == "more"
    assert side_by_side(before, before) == ()
    assert side_by_side("", before)[-1].kind == "added"
