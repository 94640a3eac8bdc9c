"""How results look: cards for notebooks, the same facts as text."""

from __future__ import annotations

import dataclasses
import html.parser

import pytest

import gitops_ml as gml
from gitops_ml.client import cards
from gitops_ml.client.cards import PullRequest
from tests.support import sessions
from tests.support.person import container_api

EVIL = "<script>alert('x')</script>&"


class Elements(html.parser.HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.names, self.open, self.text, self.links = set(), [], "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.open.append(tag)
        self.links += [value for name, value in attributes if name == "href"]
        assert not [name for name, _ in attributes if name.startswith("on")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def client(ann):
    ann.configures()
    return gml.client("staging", offline=True)


def proposal(**changes):
    facts = {
        "number": 12, "url": "https://git.example.org/acme/gitops/pulls/12", "title": "Deploy iris",
        "state": "open", "head": "gitops-ml/deploy/staging/iris", "base": "main", "commit": None,
        "merge_commit": None, "is_draft": False,
    }  # fmt: skip
    return PullRequest(**{**facts, **changes})


def test_an_api_as_text(client):
    api = client.create_api(container_api("iris"), pull_request=False)
    notes = [f"  note: {warning}" for warning in api.warnings]
    assert repr(api).splitlines() == [
        "iris in staging  [committed]",
        f"  deployment  {api.deployment_id}",
        f"  image       {str(api.image)[: -len(api.image.digest)]}{api.image.digest[:19]}…",
        "  pods        starts",
        f"  commit      {api.commit[:12]}",
        f"  {len(api.changes)} files change",
        *notes,
    ]


def test_a_card_says_what_the_text_says(client):
    api = client.create_api(container_api("iris"), dry_run=True)
    page = Elements(api._repr_html_())
    for word in ("iris in staging", "plan", api.deployment_id, "+++ b/releases/"):
        assert word in page.text
    assert f'title="{api.image}"' in api._repr_html_()
    assert page.open == []
    assert page.names <= {"div", "span", "details", "summary", "ul", "li", "a", "table", "code"}


@pytest.mark.parametrize("field", ["title", "state", "head", "base"])
def test_what_others_wrote_is_shown_and_not_obeyed(field):
    page = Elements(proposal(**{field: EVIL})._repr_html_())
    assert "script" not in page.names
    assert EVIL in page.text


def test_notes_tables_and_diffs_are_escaped():
    card = cards.Card(
        title=EVIL, state=EVIL, rows=(cards.Row(EVIL, EVIL),), head=(EVIL,), table=((EVIL,),),
        notes=(EVIL,), diff=(f"+{EVIL}\n",), files=1,
    )  # fmt: skip
    page = Elements(cards.html(card))
    assert page.text.count(EVIL) == 8
    assert "script" not in page.names


def test_only_web_pages_are_links():
    assert Elements(proposal(url="javascript:alert(1)")._repr_html_()).links == []
    assert Elements(proposal()._repr_html_()).links == [proposal().url]


def test_a_long_diff_is_cut():
    card = cards.Card(title="x", diff=("".join(f"+{n}\n" for n in range(5000)),), files=1)
    page = cards.html(card)
    assert "4600 lines more" in page
    assert len(page) < 100_000


def test_a_branch_where_there_is_no_forge():
    branch = proposal(number=0, url="")
    assert repr(branch).splitlines()[0] == "Deploy iris  [pushed]"
    assert dataclasses.replace(branch, number=3).name == "#3"


def test_a_plan_shows_what_changes_and_an_equal_one_says_so(client):
    client.create_api(container_api("iris"), pull_request=False)
    other = container_api("iris", autoscaling={"max_replicas": 7})
    plan = client.create_api(other, dry_run=True)
    assert [(each.before, each.after) for each in plan.fields] == [(5, 7)]
    assert "  note: autoscaling.maxReplicas: 5 → 7" in repr(plan).splitlines()
    equal = client.create_api(container_api("iris"), dry_run=True)
    assert repr(equal).splitlines()[0] == "iris in staging  [unchanged]"
    assert "none: this is equal to the current release" in repr(equal)
    assert "equal to the current release" in equal._repr_html_()


def test_what_is_proposed_and_what_is_live_differ_in_colour():
    states = ("plan", "proposed", "committed", "live", "updating", "error")
    colours = {state: cards.html(cards.Card(title="x", state=state)) for state in states}
    found = {page.partition("background: ")[2][:7] for page in colours.values()}
    assert len(found) == len(states)


def test_a_client_is_a_card(client):
    page = Elements(client._repr_html_())
    for word in ("shop in staging", "gitops.git", "ml-staging", "staging, production"):
        assert word in page.text


def test_an_api_knows_its_past_and_can_be_promoted(client, ann):
    client.create_api(container_api("iris"), pull_request=False)
    api = client.get_api("iris")
    assert [entry.deployment_id for entry in api.history()] == [api.deployment_id]
    assert api.promote(to="production", pull_request=False).releases[0].environment == "production"


def test_a_list_is_a_table(client):
    client.create_api(container_api("iris"), pull_request=False)
    client.create_api(container_api("faces"), pull_request=False)
    apis = client.list_apis()
    assert [api.name for api in apis] == ["faces", "iris"]
    assert repr(apis).splitlines()[0] == "APIs in staging"
    assert repr(apis).splitlines()[1].split() == [
        "API", "ENVIRONMENT", "STATE", "DEPLOYMENT", "IMAGE", "PROPOSED",
    ]  # fmt: skip


def test_history_and_trace(client):
    first = client.create_api(container_api("iris"), pull_request=False)
    second = client.create_api(container_api("iris", compute={"cpu": "300m"}), pull_request=False)
    past = client.history("iris")
    assert [entry.deployment_id for entry in past] == [second.deployment_id, first.deployment_id]
    for word in ("resources.cpu", second.commit[:8]):
        assert word in repr(past)
    found = client.trace(first.deployment_id)
    assert (found.api, found.is_current, found.commit) == ("iris", False, first.commit)
    assert "not there any more" in repr(found)


def test_a_notebook_shows_cards_progress_and_short_errors(ann):
    ann.configures()
    _, api, wrong = sessions.notebook(
        "import gitops_ml as gml\nclient = gml.client('staging', offline=True)",
        f"client.create_api({container_api('iris')!r}, pull_request=False)",
        "client.create_api({'name': 'iris', 'kind': 'RealtimeApi'})",
        cwd=ann.project,
    )
    assert "iris in staging" in api.html
    assert "iris in staging  [committed]" in api.text
    assert wrong.error.startswith("InvalidDocument: iris.kind: ")
    assert "Traceback" not in wrong.error


def test_the_commit_of_a_notebook_names_its_cell(ann):
    ann.configures()
    path = str(ann.project / "research" / "iris.ipynb")
    sessions.notebook(
        f"__vsc_ipynb_file__ = {path!r}\nimport gitops_ml as gml",
        "client = gml.client('staging', offline=True)",
        f"client.create_api({container_api('iris')!r}, pull_request=False)",
        cwd=ann.project,
    )
    origin = ann.release("iris")["provenance"]["origin"]
    assert (origin["notebook"], origin["cell"]) == ("research/iris.ipynb", 3)
    assert origin["python"].startswith("3.")


HOSTILE = {
    "attribute": '" onmouseover="alert(1)" x="',
    "single quotes": "' onclick='alert(1)",
    "comment": "--><script>alert(1)</script><!--",
    "end": "</div></span></table></details><iframe src=//evil.example>",
    "style": "</style><style>*{display:none}",
    "template": "{{ 7 * 7 }}{% raw %}${x}",
    "entity": "&lt;script&gt;&#x6a;",
    "escapes": "\x1b]0;owned\x07\x1b[2Jred\x1b[31m\x00",
    "direction": "abc\u202ecba\u2066",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_field_of_a_card_is_obeyed(name):
    evil = HOSTILE[name]
    card = cards.Card(
        title=evil, state=evil, rows=(cards.Row(evil, evil, evil), cards.Row("x", evil, f"https://x/{evil}")),
        head=(evil,), table=((evil,),), notes=(evil,), diff=(f"+{evil}\n",), files=1,
    )  # fmt: skip
    made = cards.html(card)
    page = Elements(made)
    assert page.open == []
    assert page.names <= {
        "div",
        "span",
        "details",
        "summary",
        "ul",
        "li",
        "a",
        "table",
        "tr",
        "th",
        "td",
    }
    for text in (made, cards.text(card)):
        assert all(c.isprintable() or c in "\n\t" for c in text)
    if name not in ("escapes", "direction"):
        assert page.text.count(evil) >= 8
    # Jupyter would set what is between dollars as a formula.
    assert "mathjax_ignore" in made


def test_a_long_cell_of_a_table_breaks_and_a_short_one_does_not():
    card = cards.Card(title="t", head=("a", "b"), table=(("short", "long " * 20),))
    short, long = cards.html(card).split("<td ")[1:]
    assert "white-space: nowrap" in short
    assert "white-space: pre-wrap" in long


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 releases"), (1, "1 release"), (2, "2 releases")]
)
def test_a_title_counts_as_people_do(count, words):
    assert cards.counted(count, "release") == words
