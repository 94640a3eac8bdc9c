"""A preview of a labelled pull request: what it proposes, beside what runs, until the label goes."""

from __future__ import annotations

import json

import pytest
import yaml

from gitops_ml.gitops.previews import previews_file
from tests.e2e.cluster import posted
from tests.e2e.machine.argocd import NAMESPACE as ARGO_CD
from tests.e2e.machine.gitea import USER
from tests.e2e.machine.processes import until
from tests.e2e.story import answer_api
from tests.support.git_servers import git
from tests.support.person import container_api
from tests.support.previews import FORGES, HOURS, place

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]

ENFORCE = "pod-security.kubernetes.io/enforce"
_REFRESH = {"metadata": {"annotations": {"argocd.argoproj.io/application-set-refresh": "true"}}}
KINDS = ("applicationsets.argoproj.io", "appprojects.argoproj.io")


@pytest.mark.parametrize("forge", FORGES)
def test_the_api_server_takes_the_objects(cluster, namespace, forge):
    for previews in ("{}", f"{{token_secret: {{name: t}}, gpu_class: mig, hours: {HOURS}}}"):
        documents = [*yaml.safe_load_all(previews_file(place(previews, forge)).content)]
        for each in documents:
            each["metadata"]["namespace"] = namespace
        cluster.apply(documents, "--dry-run=server")


@pytest.fixture
def prefix(story):
    """The story with previews; the start of their namespaces."""
    start = f"p{story.mark}"
    place = {
        "cluster": "main", "namespace": story.namespace, "previews": {"namespace_prefix": start},
    }  # fmt: skip
    story.configures(environments={story.environment: place})
    yield start
    for kind in KINDS:
        for name in sets(story):
            story.cluster.kubectl(
                "delete", kind, name, "-n", ARGO_CD, "--wait=false", "--ignore-not-found"
            )


def test_a_labelled_pull_request_has_a_preview_until_the_label_goes(story, prefix):
    apis = [answer_api(), answer_api(name="other")]
    story.has(*apis)
    story.bootstraps()
    story.deploys()
    pull = proposes(story, *apis[1:], factor=5)
    namespace = f"{prefix}-pr-{pull.rpartition('/')[2]}"
    refresh(story)
    assert not namespace_exists(story, namespace)

    label = labels(story, pull)
    until(lambda: refreshed(story, namespace), "the preview is ready", seconds=240)
    until(lambda: answers(story, namespace) == 35, "it answers as proposed", seconds=60)
    assert story.predicts({"x": 7})[0] == {"answer": 14}
    assert not story.pods_in(namespace, "other")
    until(
        lambda: exists(story, "resourcequota", "preview", namespace), "it has a quota", seconds=60
    )
    hard = story.cluster.get("resourcequota", "preview", namespace=namespace)["spec"]["hard"]
    assert (hard["requests.cpu"], hard["pods"]) == ("2", "4")

    assert proposes(story, *apis[1:], factor=6) == pull
    until(
        lambda: refreshed(story, namespace) and answers(story, namespace) == 42,
        "a push to the pull request is previewed",
        seconds=240,
    )

    story.site.forge.ask("DELETE", f"{issue(pull)}/labels/{label}")
    until(lambda: gone(story, namespace), "the preview is gone", seconds=240)
    assert story.predicts({"x": 7})[0] == {"answer": 14}


def test_a_chart_of_the_pull_request_does_not_loosen_its_place(story, prefix):
    story.has(container_api("answer"))
    story.bootstraps()
    pull = proposes(story, factor=None)
    namespace = f"{prefix}-pr-{pull.rpartition('/')[2]}"
    loosened = {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {ENFORCE: "privileged"}},
    }  # fmt: skip
    pushes(story, pull, "templates/place.yaml", loosened)
    labels(story, pull)
    name = f"preview-{story.environment}-{namespace.rpartition('-')[2]}-answer"
    until(lambda: "not permitted" in message(story, name), "Argo CD refuses it", seconds=240)
    until(lambda: enforced(story, namespace), "the place of the preview is there", seconds=120)
    assert enforced(story, namespace) == "restricted"


@pytest.mark.parametrize("end", ["merged", "closed"])
def test_a_preview_is_gone_when_its_pull_request_is(story, prefix, end):
    story.has(container_api("answer"))
    story.bootstraps()
    pull = proposes(story, factor=None)
    namespace = f"{prefix}-pr-{pull.rpartition('/')[2]}"
    labels(story, pull)
    until(lambda: is_previewed(story, namespace), "the preview is there", seconds=240)
    if end == "merged":
        merges(story, pull)
    else:
        story.site.forge.ask("PATCH", pull, {"state": "closed"})
    until(lambda: gone(story, namespace), "the preview is gone", seconds=240)
    if end == "merged":
        until(lambda: is_applied(story), "what was previewed is applied", seconds=240)
    # The list of what the pull request previewed has come to the branch, and makes no preview of its own.
    refresh(story)
    assert not namespace_exists(story, namespace)


# -- steps -----------------------------------------------------------------------------------------


def proposes(story, *others, factor: int | None) -> str:
    """The path of the pull request, which changes the factor of the first API only."""
    if factor is not None:
        story.has(answer_api(predictor={"config": {"factor": factor}}), *others)
    story.runs("deploy", "-e", story.environment, "--pull-request")
    repository = f"/repos/{USER}/gitops-{story.mark}"
    (pull,) = story.site.forge.ask("GET", f"{repository}/pulls")
    return f"{repository}/pulls/{pull['number']}"


def pushes(story, pull: str, file: str, document) -> None:
    """A file of the chart, on the branch of the pull request."""
    branch = story.site.forge.ask("GET", pull)["head"]["ref"]
    folder = story.ann.home / "branch"
    git("clone", "-q", "-b", branch, story.repository, folder)
    (chart,) = folder.glob("charts/predictor/*")
    (chart / file).write_text(yaml.safe_dump(document))
    git("add", "-A", cwd=folder)
    git("commit", "-q", "-m", "by hand", cwd=folder)
    access = f"http://{USER}:{story.site.forge.token}@"
    git("push", "-q", story.repository.replace("http://", access), branch, cwd=folder)


def merges(story, pull: str) -> None:
    """Once Gitea knows that nothing is in the way, which it finds out after the push."""
    until(lambda: story.site.forge.ask("GET", pull)["mergeable"], "it can be merged", seconds=60)
    story.site.forge.ask("POST", f"{pull}/merge", {"Do": "merge"})


def issue(pull: str) -> str:
    return pull.replace("/pulls/", "/issues/")


def labels(story, pull: str) -> int:
    repository = pull.partition("/pulls/")[0]
    label = story.site.forge.ask(
        "POST", f"{repository}/labels", {"name": "preview", "color": "#00aabb"}
    )
    story.site.forge.ask("POST", f"{issue(pull)}/labels", {"labels": [label["id"]]})
    return int(label["id"])


def sets(story) -> tuple[str, str]:
    start, end = "gitops-ml-preview", story.environment
    return f"{start}s-{end}", f"{start}-places-{end}"


def refresh(story) -> None:
    """Have Argo CD list the pull requests now, and not in three minutes."""
    for name in sets(story):
        until(
            lambda name=name: exists(story, KINDS[0], name, ARGO_CD), f"{name} exists", seconds=90
        )
        story.cluster.patch(KINDS[0], name, _REFRESH, namespace=ARGO_CD)


def refreshed(story, namespace: str) -> bool:
    """Whether a pod is ready and all are."""
    refresh(story)
    found = story.pods_in(namespace)
    states = [
        {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
        for pod in found
    ]
    return bool(states) and all(each.get("Ready") == "True" for each in states)


def is_previewed(story, namespace: str) -> bool:
    """Whether the namespace has a Deployment; its image need not exist."""
    refresh(story)
    return namespace_exists(story, namespace) and exists(story, "deployment", "answer", namespace)


def is_applied(story) -> bool:
    """Whether the environment has the release; Argo CD is asked to look for it now."""
    story.cluster.patch(KINDS[0], f"gitops-ml-{story.environment}", _REFRESH, namespace=ARGO_CD)
    return exists(story, "deployment", "answer", story.namespace)


def message(story, name: str) -> str:
    """What Argo CD reports about the sync of an Application."""
    refresh(story)
    if not exists(story, "applications.argoproj.io", name, ARGO_CD):
        return ""
    status = story.cluster.get("applications.argoproj.io", name, namespace=ARGO_CD).get("status")
    return json.dumps(status)


def gone(story, namespace: str) -> bool:
    refresh(story)
    names = [each["metadata"]["name"] for each in story.applications()]
    return not [name for name in names if name.startswith("preview-")] and not namespace_exists(
        story, namespace
    )


# -- what runs -------------------------------------------------------------------------------------


def exists(story, kind: str, name: str, namespace: str) -> bool:
    return bool(story.cluster.kubectl("get", kind, name, "-n", namespace, "--ignore-not-found"))


def namespace_exists(story, namespace: str) -> bool:
    return exists(story, "namespace", namespace, "default")


def enforced(story, namespace: str) -> str | None:
    """Its level of Pod Security, where it exists."""
    if not namespace_exists(story, namespace):
        return None
    found = story.cluster.get("namespace", namespace, namespace="default")
    return found["metadata"]["labels"].get(ENFORCE)


def answers(story, namespace: str) -> int | None:
    service = story.cluster.get("service", "answer", namespace=namespace)["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}/predict"
    try:
        return posted(url, {"x": 7})[0]["answer"]
    except OSError:
        return None
