"""Every forge: find, open and update pull requests, and the messages where that fails."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from gitops_ml.errors import Refused, ServerFailed
from tests.git.test_over_servers import everything_in
from tests.support.forges.running import HEAD, adapter, branch, forge_running, kind_of, proposal
from tests.support.forges.server import Pull, Reply
from tests.support.git_servers import TOKEN, git
from tests.support.http_servers import Handler, answering
from tests.support.ports import free_port

WRITES = ("POST", "PUT", "PATCH", "DELETE")


def writes(forge) -> list[str]:
    return [line for line in forge.calls() if line.startswith(WRITES)]


def titles(forge) -> list[tuple[str, str]]:
    return [(pull.title, pull.state) for pull in forge.pulls]


# -- opening and finding ---------------------------------------------------------------------------


def test_a_pull_request_is_opened_and_known(forge):
    commit = branch(forge)
    made = adapter(forge).open(proposal())
    assert (made.number, made.title, made.state, made.head, made.base, made.commit) == (
        1, "Deploy iris", "open", HEAD, "main", commit,
    )  # fmt: skip
    assert made.url.startswith(f"{forge.url}/")
    assert (made.merge_commit, made.is_draft, made.warnings) == (None, False, ())
    assert [pull.body for pull in forge.pulls] == ["Because.\n"]
    assert adapter(forge).get(1) == made
    assert adapter(forge).find(head=HEAD, base="main") == made


def test_opening_again_brings_the_open_one_up_to_date(forge):
    branch(forge)
    first = adapter(forge).open(proposal())
    second = adapter(forge).open(proposal(title="Deploy a better iris", body="It is better."))
    assert (second.number, second.title) == (first.number, "Deploy a better iris")
    assert [(pull.title, pull.body) for pull in forge.pulls] == [
        ("Deploy a better iris", "It is better.")
    ]


def test_what_is_equal_is_not_sent(forge):
    branch(forge)
    wanted = proposal(labels=("ml",), reviewers=("bea",))
    adapter(forge).open(wanted)
    forge.pulls[0].body = forge.pulls[0].body.replace("\n", "\r\n")
    before = writes(forge)
    adapter(forge).open(wanted)
    assert writes(forge) == before


def test_nothing_is_found_where_there_is_nothing(forge):
    assert adapter(forge).find(head=HEAD, base="main") is None
    assert adapter(forge).of_commit("0" * 40) == ()


def test_another_branch_and_another_base_are_not_it(forge):
    branch(forge)
    branch(forge, f"{HEAD}-2")
    git("branch", "next", "main", cwd=forge.bare)
    adapter(forge).open(proposal(base="next"))
    adapter(forge).open(proposal(head=f"{HEAD}-2"))
    assert adapter(forge).find(head=HEAD, base="main") is None


def test_after_one_was_closed_a_new_one_is_opened(forge):
    branch(forge)
    adapter(forge).open(proposal())
    forge.close(1)
    found = adapter(forge).find(head=HEAD, base="main")
    assert found
    assert found.state == "closed"
    assert adapter(forge).open(proposal()).number == 2
    found = adapter(forge).find(head=HEAD, base="main")
    assert found
    assert (found.number, found.state) == (2, "open")


@pytest.mark.parametrize("how", ["merge", "squash"])
def test_one_that_was_merged_says_by_which_commit_and_the_commit_leads_to_it(forge, how):
    branch(forge)
    made = adapter(forge).open(proposal())
    commit = forge.merge(1, how)
    found = adapter(forge).get(1)
    assert (found.state, found.merge_commit, found.commit) == ("merged", commit, made.commit)
    assert [each.number for each in adapter(forge).of_commit(commit)] == [1]


def test_one_whose_branch_was_deleted_is_closed(forge):
    branch(forge)
    adapter(forge).open(proposal())
    git("update-ref", "-d", f"refs/heads/{HEAD}", cwd=forge.bare)
    assert adapter(forge).get(1).state == "closed"
    branch(forge)
    assert adapter(forge).open(proposal()).number == 2


def test_one_that_was_opened_meanwhile_is_updated(forge):
    branch(forge)

    def meanwhile(request):
        if request.method == "POST" and not forge.pulls:
            forge.add("Deploy iris", "Theirs.", HEAD, "main", draft=False)

    forge.answers.append(meanwhile)
    made = adapter(forge).open(proposal())
    assert (made.number, len(forge.pulls), forge.pulls[0].body) == (1, 1, "Because.\n")


def test_one_is_found_among_many(forge):
    branch(forge)
    other = branch(forge, "other")
    adapter(forge).open(proposal())
    forge.pulls += [Pull(n, "Other", "", "other", "main", commit=other) for n in range(2, 62)]
    found = adapter(forge).find(head=HEAD, base="main")
    assert found
    assert found.number == 1


def test_the_open_one_is_found_among_many_that_were_closed(forge):
    branch(forge)
    adapter(forge).open(proposal())
    for _ in range(7):
        pull = forge.add("Old", "", HEAD, "main", draft=False)
        pull.state = "closed"
    found = adapter(forge).find(head=HEAD, base="main")
    assert found
    assert (found.number, found.state) == (1, "open")


# -- what is wanted besides ------------------------------------------------------------------------


def test_labels_reviewers_and_teams(forge):
    branch(forge)
    wanted = proposal(labels=("deployment", "ml"), reviewers=("bea", "cem"), teams=("platform",))
    made = adapter(forge).open(wanted)
    (pull,) = forge.pulls
    kind = kind_of(forge)
    assert pull.labels == ([] if kind == "bitbucket" else ["deployment", "ml"])
    assert pull.reviewers == ["bea", "cem"]
    assert pull.teams == (["platform"] if kind in ("github", "gitea") else [])
    unable = {"gitlab": ["platform"], "bitbucket": ["deployment, ml", "platform"]}.get(kind, [])
    assert [next(word for word in unable if word in each) for each in made.warnings] == unable


def test_an_unknown_reviewer_is_a_warning_and_the_others_are_requested(forge):
    branch(forge)
    made = adapter(forge).open(proposal(reviewers=("nobody", "bea"), teams=()))
    assert [pull.reviewers for pull in forge.pulls] == [["bea"]]
    (warning,) = made.warnings
    assert "without the review of nobody" in warning
    assert made.url in warning


def test_a_label_that_the_repository_lacks(forge):
    branch(forge)
    made = adapter(forge).open(proposal(labels=("strange",)))
    if kind_of(forge) == "bitbucket":
        assert "strange" in made.warnings[0]
    else:
        assert (forge.pulls[0].labels, made.warnings) == (["strange"], ())


def test_a_label_that_the_token_may_not_create_is_a_warning(forge):
    if kind_of(forge) != "gitea":
        return
    branch(forge)
    path = f"/repos/{forge.repository}/labels"
    forge.answers.append(
        lambda request: Reply(403, {"message": "user should have permission to write issues"})
        if (request.method, request.path) == ("POST", path) else None
    )  # fmt: skip
    (warning,) = adapter(forge).open(proposal(labels=("strange",))).warnings
    assert "without the label strange: the repository has no label 'strange'" in warning
    assert "user should have permission to write issues" in warning


@pytest.mark.parametrize(
    ("empty_for", "has_pulls", "words"),
    [
        (3, True, None),
        (99, True, "it counts as empty 30 seconds after the push"),
        (0, False, "they are off in its settings"),
    ],
)
def test_gitea_has_no_pull_requests_until_it_has_processed_the_first_push(
    tmp_path, empty_for, has_pulls, words
):
    with forge_running("gitea", tmp_path / "forge") as forge:
        here, waits = f"/repos/{forge.repository}", []

        def answer(request):
            is_empty = len(waits) < empty_for
            if (request.method, request.path) == ("GET", here):
                return Reply(200, {"empty": is_empty, "has_pull_requests": has_pulls})
            hidden = request.path.startswith(f"{here}/pulls") and (is_empty or not has_pulls)
            return forge.not_found() if hidden else None

        forge.answers.append(answer)
        branch(forge)
        if words is None:
            assert adapter(forge, waits=waits).open(proposal()).number == 1
            assert len(waits) == empty_for
        else:
            with pytest.raises(Refused, match=words):
                adapter(forge, waits=waits).open(proposal())


def test_a_draft_stays_what_people_made_of_it(forge):
    branch(forge)
    made = adapter(forge).open(proposal(is_draft=True))
    assert (made.is_draft, made.title, forge.pulls[0].draft) == (True, "Deploy iris", True)
    again = adapter(forge).open(proposal(is_draft=False, title="Deploy more"))
    assert (again.is_draft, again.title, forge.pulls[0].draft) == (True, "Deploy more", True)


def test_auto_merge_is_asked_for_once_and_by_the_wanted_method(forge):
    branch(forge)
    wanted = proposal(auto_merge=True, merge_method="squash")
    assert adapter(forge).open(wanted).warnings == ()
    assert forge.pulls[0].auto_merge == "squash"
    assert adapter(forge).open(wanted).warnings == ()
    assert forge.pulls[0].state == "open"


def test_gitlab_without_a_pipeline_is_asked_again_and_then_it_is_a_warning(gitlab):
    branch(gitlab)
    gitlab.has_pipeline = False
    waits: list[float] = []
    made = adapter(gitlab, waits=waits).open(proposal(auto_merge=True))
    assert (len(waits), gitlab.pulls[0].auto_merge) == (3, None)
    assert "without auto-merge" in made.warnings[0]


def test_an_old_bitbucket_gets_no_request_for_auto_merge(bitbucket):
    branch(bitbucket)
    bitbucket.version = "8.9.1"
    made = adapter(bitbucket).open(proposal(auto_merge=True, is_draft=True))
    assert "from 8.18 on" in made.warnings[0]
    assert "from 8.15 on, and this is 8.9.1" in made.warnings[1]
    assert bitbucket.pulls[0].state == "open"


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_wrong_token_is_refused_and_not_shown(forge):
    with pytest.raises(
        Refused, match="does not accept the token in the environment variable T"
    ) as e:
        adapter(forge, token="wrong-but-secret").find(head=HEAD, base="main")
    assert "wrong-but-secret" not in everything_in(e.value)


def test_without_a_token_the_message_lists_the_ways_to_set_one(forge):
    with pytest.raises(Refused, match=r"gitops\.forge\.token_env.*keyring set gitops-ml"):
        adapter(forge, token=None).find(head=HEAD, base="main")


def test_a_repository_that_is_missing_or_hidden(forge):
    with pytest.raises(Refused, match=r"does not have acme/other.*may not see it"):
        adapter(forge, repository="acme/other").open(proposal())


def test_a_missing_scope_names_those_that_are_needed(github):
    headers = {"X-Accepted-OAuth-Scopes": "repo", "X-OAuth-Scopes": "read:org"}
    github.answers.append(
        lambda _: Reply(403, {"message": "Resource not accessible by token"}, headers)
    )
    with pytest.raises(Refused, match=r"Resource not accessible.*it needs repo; it has read:org"):
        adapter(github).find(head=HEAD, base="main")


def limits() -> dict[str, Reply]:
    """How forges say that they are asked too often, and when that is over: in half an hour."""
    then = str(int(time.time()) + 1800)
    out = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": then}
    later = {"Retry-After": "1800"}
    return {
        "github": Reply(403, {"message": "API rate limit exceeded"}, out),
        "secondary": Reply(403, {"message": "You have exceeded a secondary rate limit"}, later),
        "429": Reply(429, {"message": "Too many requests"}, later),
        "gitlab": Reply(429, None, {"RateLimit-Reset": then}),
    }


@pytest.mark.parametrize("limit", limits())
def test_a_rate_limit_of_half_an_hour_is_reported_and_not_waited_for(github, limit):
    github.answers.append(lambda _: limits()[limit])
    github.check = lambda *_: None  # these are answers to anything at all
    waits: list[float] = []
    with pytest.raises(ServerFailed, match=r"try again in (29|30) minutes"):
        adapter(github, waits=waits).find(head=HEAD, base="main")
    assert waits == []


def test_a_short_rate_limit_is_waited_for_also_where_something_is_sent(forge):
    branch(forge)
    limits = [Reply(429, {"message": "slow down"}, {"Retry-After": "2"})]
    forge.answers.append(lambda r: limits.pop() if r.method == "POST" and limits else None)
    waits: list[float] = []
    assert adapter(forge, waits=waits).open(proposal()).number == 1
    assert waits == [2.0]


@pytest.mark.parametrize("failure", [Reply(502, {"message": "x"}), Reply(0, drops_the_line=True)])
def test_reading_is_tried_again(forge, failure):
    branch(forge)
    failures = [failure, failure]
    forge.answers.append(lambda r: failures.pop() if r.method == "GET" and failures else None)
    waits: list[float] = []
    assert adapter(forge, waits=waits).open(proposal()).number == 1
    assert len(waits) == 2


@pytest.mark.parametrize("failure", [Reply(503, {"message": "x"}), Reply(0, drops_the_line=True)])
def test_writing_is_not_and_the_next_run_finds_what_has_become_of_it(forge, failure):
    branch(forge)

    def lost(request):
        """It is opened, and the answer gets lost."""
        if request.method == "POST" and not forge.pulls:
            forge.add("Deploy iris", "Because.", HEAD, "main", draft=False)
            return failure
        return None

    forge.answers.append(lost)
    with pytest.raises(ServerFailed):
        adapter(forge).open(proposal())
    assert adapter(forge).open(proposal()).number == 1
    assert titles(forge) == [("Deploy iris", "open")]


def elsewhere(forge, url: str):
    """Our adapter for an API that is somewhere else."""
    port = adapter(forge)
    port.session.address = replace(port.session.address, api_url=url)
    return port


def test_a_forge_that_is_not_there(forge):
    with pytest.raises(ServerFailed, match="cannot be reached") as caught:
        elsewhere(forge, f"http://127.0.0.1:{free_port()}").find(head=HEAD, base="main")
    assert TOKEN not in everything_in(caught.value)


def test_a_server_that_is_not_an_api(github):
    class Page(Handler):
        def do_GET(self):
            self.answer(200, b"<html>hello</html>")

    wrong = r"not JSON; is gitops\.forge\.api_url right"
    with answering(Page) as host, pytest.raises(ServerFailed, match=wrong):
        elsewhere(github, f"http://{host}").find(head=HEAD, base="main")


@pytest.mark.parametrize("url", ["http://forge.example.org/api/v3", "http://10.0.0.1/api/v3"])
def test_a_token_is_sent_in_plain_text_to_this_machine_only(github, url):
    with pytest.raises(Refused, match="is not sent to http://"):
        elsewhere(github, url).find(head=HEAD, base="main")


# -- renamed repositories, and other hosts ---------------------------------------------------------


def test_a_renamed_repository_is_followed_with_the_whole_question(github):
    branch(github)
    git("branch", "other", "main", cwd=github.bare)
    github.add("Other", "", "other", "main", draft=False)
    github.rename("acme/delivery")
    made = adapter(github, repository="acme/gitops").open(proposal())
    assert (made.number, titles(github)) == (2, [("Other", "open"), ("Deploy iris", "open")])
    assert adapter(github, repository="acme/gitops").open(proposal()).number == 2


def test_a_token_is_not_taken_along_to_another_host(github):
    seen: list[str | None] = []

    class Other(Handler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))

    with answering(Other) as host:
        url = f"http://{host}/x"
        github.answers.append(lambda _: Reply(301, {"message": "Moved"}, {"Location": url}))
        github.check = lambda *_: None
        with pytest.raises(Refused, match="to which the token does not belong"):
            adapter(github).find(head=HEAD, base="main")
    assert seen == []


def test_a_page_of_another_host_is_not_asked_for_either(github):
    link = {"Link": '<http://127.0.0.1:1/api/v3/x>; rel="next"'}
    github.answers.append(lambda _: Reply(200, [], link))
    github.check = lambda *_: None
    with pytest.raises(Refused, match=r"is not sent to http://127\.0\.0\.1:1"):
        list(adapter(github).session.pages("/repos/acme/gitops/pulls"))


def test_redirects_end(github):
    github.answers.append(
        lambda r: Reply(301, {"message": "Moved"}, {"Location": f"{github.api_url}{r.path}"})
    )
    github.check = lambda *_: None
    with pytest.raises(ServerFailed, match="redirects more than 5 times"):
        adapter(github).find(head=HEAD, base="main")
