"""A preview of a labelled pull request: what it proposes, beside what runs, until it is closed."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from tests.e2e.cluster import posted
from tests.e2e.machine.argocd import NAMESPACE as ARGO_CD
from tests.e2e.machine.gitea import USER
from tests.e2e.machine.processes import until
from tests.e2e.story import answer_api
from tests.support.http_servers import Handler, answering

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]


@pytest.fixture
def previews(story):
    """The story with previews; its namespaces begin with the returned text."""
    start = f"p{story.mark}"
    place = {"cluster": "main", "namespace": story.namespace, "previews": {"namespace": start}}
    with answering(with_a_version(story.site.forge.url)) as host:
        forge = {"type": "gitea", "api_url": f"http://{host}/api/v1", "token_env": "GITOPS_TOKEN"}
        story.configures(
            environments={story.environment: place},
            gitops={"forge": {**forge, "repository": f"{USER}/gitops-{story.mark}"}},
        )
        yield start
    name = f"gitops-ml-previews-{story.environment}"
    for kind in ("applicationsets.argoproj.io", "appprojects.argoproj.io"):
        story.cluster.kubectl(
            "delete", kind, name, "-n", ARGO_CD, "--wait=false", "--ignore-not-found"
        )


def with_a_version(forge: str) -> type[Handler]:
    """A Gitea that is built as a Go module has no version, and Argo CD's client needs one."""

    class Forward(Handler):
        def do_GET(self) -> None:
            self._forward(None)

        def do_POST(self) -> None:
            self._forward(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        do_PATCH = do_POST

        def _forward(self, body: bytes | None) -> None:
            if self.path == "/api/v1/version":
                self.answer(200, b'{"version": "1.26.0"}', {"Content-Type": "application/json"})
                return
            names = ("Authorization", "Content-Type", "Accept")
            headers = {name: self.headers[name] for name in names if self.headers[name]}
            request = urllib.request.Request(forge + self.path, body, headers, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=30) as found:
                    kept = {
                        n: found.headers[n] for n in ("Link", "Content-Type") if found.headers[n]
                    }
                    self.answer(found.status, found.read(), kept)
            except urllib.error.HTTPError as error:
                self.answer(error.code, error.read(), {"Content-Type": "application/json"})

    return Forward


def test_a_labelled_pull_request_has_a_preview_until_it_is_closed(story, previews):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    story.has(answer_api(
        predictor={"config": {"factor": 5}}, autoscaling={"min_replicas": 3, "max_replicas": 5},
    ))  # fmt: skip
    story.runs("deploy", "-e", story.environment, "-a", "answer", "--pull-request")
    forge, repository = story.site.forge, f"/repos/{USER}/gitops-{story.mark}"
    (pull,) = forge.ask("GET", f"{repository}/pulls")
    label = forge.ask("POST", f"{repository}/labels", {"name": "preview", "color": "#00aabb"})
    namespace = f"{previews}-{pull['number']}-answer"
    assert not has_namespace(story, namespace)

    forge.ask("POST", f"{repository}/issues/{pull['number']}/labels", {"labels": [label["id"]]})
    refresh(story)
    until(lambda: ready(story, namespace), "the preview is ready", seconds=200)
    service = story.cluster.get("service", "answer", namespace=namespace)["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}/predict"
    until(lambda: answers(url) == {"answer": 35}, "the preview answers as proposed", seconds=30)
    assert story.predicts({"x": 7})[0] == {"answer": 14}
    assert len(story.pods_in(namespace)) == 1
    hard = story.cluster.get("resourcequota", "preview", namespace=namespace)["spec"]["hard"]
    assert (hard["requests.cpu"], hard["pods"]) == ("2", "4")

    forge.ask("PATCH", f"{repository}/pulls/{pull['number']}", {"state": "closed"})
    refresh(story)
    until(lambda: not has_namespace(story, namespace), "the preview is gone", seconds=200)
    assert story.predicts({"x": 7})[0] == {"answer": 14}


def answers(url: str):
    try:
        return posted(url, {"x": 7})[0]
    except OSError:
        return None


def refresh(story) -> None:
    """Have Argo CD list the pull requests now, and not in three minutes."""
    note = {"metadata": {"annotations": {"argocd.argoproj.io/application-set-refresh": "true"}}}
    name = f"gitops-ml-previews-{story.environment}"

    def exists() -> bool:
        return bool(story.cluster.kubectl(
            "get", "applicationsets.argoproj.io", name, "-n", ARGO_CD, "--ignore-not-found"
        ))  # fmt: skip

    until(exists, "the root has made the ApplicationSet of the previews", seconds=90)
    story.cluster.patch("applicationsets.argoproj.io", name, note, namespace=ARGO_CD)


def has_namespace(story, namespace: str) -> bool:
    return bool(story.cluster.kubectl("get", "namespace", namespace, "--ignore-not-found"))


def ready(story, namespace: str) -> bool:
    if not has_namespace(story, namespace):
        return False
    states = [
        {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
        for pod in story.pods_in(namespace)
    ]
    return bool(states) and all(each.get("Ready") == "True" for each in states)
