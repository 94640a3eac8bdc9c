"""The description of a pull request, and its length."""

from __future__ import annotations

import re
from typing import Any

import yaml

from gitops_ml.git.commits import Change
from gitops_ml.gitops.changed_releases import changed_releases
from gitops_ml.gitops.pull_request_body import (
    LONGEST_BODY,
    pull_request_body,
    title_of,
)

OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def dumped(words: Any) -> bytes:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(words, Dumper=dumper, sort_keys=False).encode()


def facts(api: str, *, id: str, digest: str, chart: str = "1.0.0", **more: Any) -> bytes:
    return dumped(
        {
            "name": api,
            "deployment_id": f"{api}-{id}",
            "chart": {"name": "predictor", "version": chart},
            "image": {"repository": f"ghcr.io/acme/{api}", "tag": "h-1", "digest": digest},
            "manifest": {"name": api, "kind": "RealtimeAPI", "compute": {"cpu": "500m"}},
            "provenance": {
                "repository": "https://github.com/acme/shop",
                "commit": "abc123",
                "dirty": None,
                "author": "Ann <ann@example.org>",
                "gitops_ml": "1.0.0",
            },
            **more,
        }
    )


def values(replicas: int = 1, host: str | None = "ml.acme.example", **more: Any) -> bytes:
    route = {"type": "httpRoute", "path": "/iris", "hosts": [host]} if host else {"type": "none"}
    words = {"autoscaling": {"maxReplicas": replicas}, "route": route, **more}
    return dumped(words)


def changed(api: str = "iris", replicas: int = 5) -> tuple[Change, ...]:
    place = f"releases/staging/{api}"
    return (
        Change(
            f"{place}/release.yaml",
            facts(api, id="aaa", digest=OLD),
            facts(api, id="bbb", digest=NEW),
        ),
        Change(f"{place}/values.yaml", values(1), values(replicas)),
    )


def body(changes: tuple[Change, ...], **words: Any) -> str:
    return pull_request_body(changes, head="gitops-ml/x", **words)


def test_a_changed_release_is_shown_before_and_after():
    assert body(changed(), why="The old model was wrong about **setosa**.") == (
        "The old model was wrong about **setosa**.\n\n"
        "| change | environment | API | pods | deployment id | image |\n"
        "|---|---|---|---|---|---|\n"
        "| modify | `staging` | `iris` | rolling, 1 at a time | `iris-aaa` → `iris-bbb` |"
        " `iris@sha256:111111111111` → `iris@sha256:222222222222` |\n"
        "\n"
        "### What changes\n\n"
        "`iris` in `staging`\n\n"
        "```diff\n- autoscaling.maxReplicas: 1\n+ autoscaling.maxReplicas: 5\n```\n\n"
        "### How to try it\n\n"
        "Before the merge, render what Argo CD will apply. After it, the response header "
        "`x-deployment-id` names the deployment\nthat answered.\n\n"
        "```sh\n"
        "git fetch origin gitops-ml/x && git checkout FETCH_HEAD\n"
        "helm template iris charts/predictor/1.0.0 -f releases/staging/iris/values.yaml\n"
        "curl -i https://ml.acme.example/iris -H 'content-type: application/json' -d @request.json\n"
        "gitops-ml trace iris-bbb\n"
        "```\n\n"
        "### Checks\n\n"
        "* The manifests and the project file are valid: the schema, and the rules between fields.\n"
        "* Only the files above change; all other files are the same as on the target branch.\n\n"
        "From `abc123` of `https://github.com/acme/shop`, proposed by `Ann <ann@example.org>` with "
        "gitops-ml `1.0.0`.\n\n"
        "```\nDeployment-Id: iris-bbb\n```\n"
    )


def test_a_new_release_shows_its_manifest_and_a_removed_one_its_end():
    text = body(
        (
            Change("releases/staging/iris/release.yaml", None, facts("iris", id="a", digest=NEW)),
            Change("releases/staging/iris/values.yaml", None, values()),
            Change("releases/staging/old/release.yaml", facts("old", id="b", digest=OLD), None),
            Change("releases/staging/old/values.yaml", values(), None),
        )
    )
    assert "```yaml\nname: iris\nkind: RealtimeAPI\ncompute:\n  cpu: 500m\n```" in text
    assert "| add | `staging` | `iris` | starts | `iris-a` | `iris@sha256:222222222222` |" in text
    assert "| delete | `staging` | `old` | stops | `old-b` → – |" in text


def test_what_changes_besides_releases_is_named_and_charts_as_a_whole():
    text = body(
        (
            Change("argocd/staging.yaml", b"a", b"b"),
            Change("charts/predictor/1.1.0/Chart.yaml", None, b"x"),
            Change("charts/predictor/1.1.0/templates/a.yaml", None, b"x"),
        )
    )
    assert "* `argocd/staging.yaml`: modified\n" in text
    assert "* `charts/predictor/1.1.0`: 2 files added\n" in text


def test_what_a_switch_of_mode_carries_along_is_counted_and_what_changes_besides_is_shown():
    path = "releases/staging/{}/manifest.yaml".format
    text = body(
        (
            *(Change(path(name), None, b"kind: Service\n") for name in ("faces", "iris", "roses")),
            *changed("iris"),
        )
    )
    assert "* `releases/staging/*/manifest.yaml`: 2 files added\n" in text
    assert ("faces" in text, text.count("| modify |")) == (False, 1)


def test_an_api_that_no_gateway_leads_to_has_no_curl_line():
    place = "releases/staging/iris"
    text = body(
        (
            Change(f"{place}/release.yaml", None, facts("iris", id="a", digest=NEW)),
            Change(f"{place}/values.yaml", None, values(host=None)),
        )
    )
    assert "curl" not in text
    assert "helm template iris" in text


def test_releases_that_change_alike_are_shown_once():
    changes = tuple(change for n in range(40) for change in changed(f"api-{n:02}"))
    text = body(changes)
    assert text.count("maxReplicas: 5") == 1
    assert "`api-00` in `staging`, `api-01` in `staging`" in text
    assert "and 35 more" in text


def test_a_thousand_releases_that_all_change_otherwise_fit():
    text = body(tuple(change for n in range(1000) for change in changed(f"api-{n:04}", n)))
    assert len(text) <= LONGEST_BODY
    assert "… and 940 more releases." in text
    assert "releases are not shown here" in text
    assert text.count("Deployment-Id: ") == 60


def test_a_release_that_changes_everywhere_is_cut():
    place = "releases/staging/iris/values.yaml"
    big = {f"key{n}": "x" * 1000 for n in range(500)}
    text = body((Change(place, values(), values(**big)),))
    assert len(text) <= LONGEST_BODY
    assert "more lines" in text


def test_warnings_are_escaped():
    text = body(changed(), warnings=["a tag <b>moved</b> @ann"])
    assert "* Warning: a tag &lt;b&gt;moved&lt;/b&gt; @\u200bann\n" in text


def outside_of_code(text: str) -> str:
    """What a forge would read as Markdown."""
    blocks = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.M | re.S)
    return re.sub(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", blocks)


def test_content_of_the_repository_cannot_leave_its_place():
    evil = "</details>```\n\n# Approved by @boss <img src=x> | x |"
    place = f"releases/{evil.replace('/', '_')}/iris"
    manifest = {"name": evil, evil: evil}
    text = body(
        (
            Change(f"{place}/release.yaml", None, facts("iris", id="a", digest=NEW)),
            Change(f"{place}/values.yaml", values(), values(**{evil: evil})),
            Change(
                "releases/x/y/release.yaml", None, facts("y", id="a", digest=NEW, manifest=manifest)
            ),
            Change(f"argocd/{evil}.yaml", None, b"x"),
        ),
        warnings=[evil],
    )
    assert text.count("Approved by") > 4
    shown = outside_of_code(text)
    assert "@boss" not in shown
    assert "<" not in shown
    assert not re.search(r"^# ", shown, re.M)
    assert [
        line.count("|") - line.count("\\|") for line in shown.splitlines() if "| add" in line
    ] == [7, 7]


def test_files_that_are_not_yaml_have_no_fields():
    place = "releases/staging/iris"
    text = body(
        (
            Change(f"{place}/release.yaml", b"\xff\xfe{", b"- just\n- a list\n"),
            Change(f"{place}/values.yaml", b"a: [", b"{{ template }}"),
        )
    )
    assert "| modify | `staging` | `iris` | no restart | – | – |" in text


def test_other_files_are_not_releases():
    paths = ["README.md", "releases/staging", "releases/staging/iris/deep/values.yaml"]
    assert changed_releases([Change(path, None, b"x") for path in paths]) == ()


def test_a_title_is_one_line_of_bounded_length():
    assert title_of("Deploy iris\n\nBecause.\n") == "Deploy iris"
    assert title_of("Deploy \t iris") == "Deploy iris"
    assert len(title_of("x" * 1000)) == 200
