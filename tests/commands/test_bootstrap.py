"""`gitops-ml bootstrap`: a repository that Argo CD and people can start from."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.support.custom_resources import check_custom_resource
from tests.support.git_servers import commit_files, git
from tests.support.person import ENVIRONMENTS, container_api
from tests.support.releases import did, iris

EVERYTHING = {
    "main": {
        "server": "https://kubernetes.default.svc",
        "kubernetes_version": "1.34",
        "gateway": {"type": "gateway-api", "name": "public", "namespace": "gateways"},
        "prometheus": {"address": "http://prometheus.monitoring:9090", "pod_monitors": True},
        "http_addon": True,
        "external_secrets": True,
    }
}


@pytest.fixture
def shop(ann):
    ann.configures()
    return ann


def test_an_empty_repository_gets_its_first_commit(shop):
    result = did(shop, "bootstrap")
    others = [path for path in shop.paths() if not path.startswith("charts/predictor/")]
    assert others == [
        ".gitattributes",
        "CODEOWNERS",
        "README.md",
        "argocd/production.yaml",
        "argocd/projects/ml.yaml",
        "argocd/staging.yaml",
        "bootstrap/rights.yaml",
        "bootstrap/root.yaml",
    ]
    assert any(path.startswith("charts/predictor/") for path in shop.paths())
    assert f"committed {shop.head()[:12]}: " in result.out
    assert git("log", "-1", "--format=%s", "main", cwd=shop.gitops) == (
        "Prepare the repository for shop"
    )


@pytest.mark.parametrize("kind", ["config_map", "operator"])
def test_an_environment_with_grafana_gets_a_dashboard_of_all_its_apis(ann, kind):
    grafana = {"type": kind, "folder": "Prediction APIs"}
    ann.configures(clusters={"main": {**EVERYTHING["main"], "grafana": grafana}})
    result = did(ann, "bootstrap")
    assert "kubectl apply -f bootstrap/dashboards/staging.yaml" in result.out
    item = yaml.safe_load(ann.text("bootstrap/dashboards/staging.yaml"))
    if kind == "operator":
        check_custom_resource(item)
        text = item["spec"]["json"]
    else:
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        (text,) = item["data"].values()
    dashboard = json.loads(text)
    assert dashboard["title"] == "All APIs (staging)"
    assert "@" not in text
    assert len(dashboard["uid"]) <= 40
    assert ann.paths("argocd/") == [
        "argocd/production.yaml",
        "argocd/projects/ml.yaml",
        "argocd/staging.yaml",
    ]


def test_argo_cd_accepts_its_objects(shop):
    did(shop, "bootstrap")
    for path in [*shop.paths("argocd/"), "bootstrap/root.yaml"]:
        for document in yaml.safe_load_all(shop.text(path)):
            check_custom_resource(document)


def test_an_older_repository_gets_the_root_and_the_step_that_starts_it(shop):
    did(shop, "bootstrap")
    folder = shop.checks_out()
    git("rm", "-r", "-q", "bootstrap", cwd=folder)
    git("commit", "-q", "-m", "as it was", cwd=folder)
    git("push", "-q", cwd=folder)
    result = did(shop, "bootstrap")
    assert shop.touched() == ["bootstrap/rights.yaml", "bootstrap/root.yaml"]
    assert "  kubectl apply -n argocd -f bootstrap/root.yaml\n" in result.out


def test_a_deploy_does_not_write_what_an_administrator_applies(shop):
    shop.has(iris())
    shop.deploys()
    assert not shop.paths("bootstrap/")


def test_without_owners_the_advice_says_what_is_open(shop):
    sentence = "name the owners of argocd/ in gitops.owners"
    assert sentence in did(shop, "bootstrap").out
    shop.configures(gitops={"owners": ["@acme/platform"]})
    assert sentence not in did(shop, "bootstrap").out


def test_again_it_changes_nothing_also_after_a_deploy(shop):
    did(shop, "bootstrap")
    before = shop.head()
    assert did(shop, "bootstrap").out == "nothing to change\n"
    assert shop.head() == before
    shop.has(iris())
    shop.deploys()
    assert not [path for path in shop.touched() if not path.startswith("releases/")]
    assert did(shop, "bootstrap").out == "nothing to change\n"


def test_the_next_steps_are_told_and_stand_in_the_readme(shop):
    shop.configures(gitops={"argocd_repository": "https://git.example.org/gitops.git"})
    result = did(shop, "bootstrap")
    readme = shop.text("README.md")
    for line in (
        "argocd repo add https://git.example.org/gitops.git",
        "kubectl apply -n argocd -f bootstrap/root.yaml",
        "kubectl apply -f bootstrap/rights.yaml",
    ):
        assert f"  {line}\n" in result.out
        assert f"$ {line}\n" in readme
    assert "argocd cluster add" not in readme
    assert "argocd app delete argocd/<api>-production --cascade" in readme


def test_the_readme_shows_how_to_bind_the_roles_and_to_set_up_webhooks(shop):
    shop.configures(gitops={"argocd_namespace": "gitops-system"})
    assert "kubectl apply -n gitops-system -f bootstrap/root.yaml" in did(shop, "bootstrap").out
    lines = shop.text("README.md").splitlines()
    binds = "$ kubectl create rolebinding"
    assert [line.split()[4:7] for line in lines if line.startswith(binds)] == [
        ["gitops-ml-reader", "-n", "ml-staging"],
        ["gitops-ml-caller", "-n", "ml-staging"],
        ["gitops-ml-metrics-reader", "-n", "ml-staging"],
        ["gitops-ml-drift-reader", "-n", "ml-staging"],
        ["gitops-ml-sync-reader", "-n", "gitops-system"],
        ["gitops-ml-refresher", "-n", "gitops-system"],
    ]
    webhooks = [line for line in lines if "`webhook." in line]
    assert [line.split("|")[1].strip() for line in webhooks] == [
        "GitHub", "GitLab", "Gitea, Forgejo", "Bitbucket Data Center",
    ]  # fmt: skip


def test_only_what_the_clusters_use_is_asked_for(shop):
    did(shop, "bootstrap")
    bare = shop.text("README.md")
    assert "| Kubernetes | 1.30 |" in bare
    assert "| KEDA | 2.20 |" in bare
    wanted = ("Gateway API", "HTTP add-on", "Prometheus Operator", "External Secrets")
    assert not [name for name in wanted if name in bare]

    shop.configures(clusters=EVERYTHING)
    did(shop, "bootstrap")
    full = shop.text("README.md")
    assert "| Kubernetes | 1.34 |" in full
    assert "| Gateway API | 1.2 | routes; the Gateway `public` in namespace `gateways` |" in full
    assert [name for name in wanted if name in full] == list(wanted)


def test_another_cluster_has_to_be_known_to_argo_cd(shop):
    shop.configures(clusters={"main": {"server": "https://10.0.0.1:6443"}})
    did(shop, "bootstrap")
    assert "$ argocd cluster add <context of https://10.0.0.1:6443>" in shop.text("README.md")


def test_one_environment_can_be_prepared_after_the_other(shop):
    did(shop, "bootstrap", "-e", "staging")
    assert not shop.paths("argocd/production.yaml")
    did(shop, "bootstrap", "-e", "production")
    assert shop.touched() == ["argocd/production.yaml"]


def test_owners_approve_what_matters(shop):
    did(shop, "bootstrap")
    assert "# /releases/production/" in shop.text("CODEOWNERS").splitlines()
    shop.configures(gitops={"owners": ["@acme/platform", "ops@acme.example"]})
    did(shop, "bootstrap")
    rules = [x.split() for x in shop.text("CODEOWNERS").splitlines() if not x.startswith("#")]
    owners = ["@acme/platform", "ops@acme.example"]
    assert rules == [
        ["/argocd/", *owners],
        ["/bootstrap/", *owners],
        ["/charts/", *owners],
        ["/CODEOWNERS", *owners],
        ["/policy.yaml", *owners],
        ["/releases/production/", *owners],
    ]


def test_git_agrees_with_our_attributes(shop):
    did(shop, "bootstrap")
    folder = shop.checks_out()
    path = "releases/staging/iris/manifest.yaml"
    attributes = git("check-attr", "eol", "linguist-generated", "--", path, cwd=folder).splitlines()
    assert attributes == [f"{path}: eol: lf", f"{path}: linguist-generated: set"]


# -- what people wrote -----------------------------------------------------------------------------


def test_what_people_wrote_stays_around_our_block(shop):
    commit_files(
        shop.gitops,
        {
            "README.md": "# Ours\n\nHello\n",
            "CODEOWNERS": "* @me\n",
            ".gitattributes": "*.png -text\n",
        },
    )
    did(shop, "bootstrap")
    assert shop.text("README.md").startswith("# Ours\n\nHello\n\n<!-- gitops-ml shop: begin ")
    assert shop.text("CODEOWNERS").endswith("# gitops-ml shop: end\n\n* @me\n")
    assert shop.text(".gitattributes").endswith("\n*.png -text\n")
    assert did(shop, "bootstrap").out == "nothing to change\n"


def test_a_block_that_somebody_edited_is_kept_and_the_difference_is_told(shop):
    did(shop, "bootstrap")
    text = shop.text("README.md").replace("KEDA | 2.20", "KEDA | 2.99")
    commit_files(shop.gitops, {"README.md": text})
    shop.configures(clusters=EVERYTHING)
    result = did(shop, "bootstrap")
    assert shop.text("README.md") == text
    assert "README.md: the block of gitops-ml was edited" in result.err
    assert "-| KEDA | 2.99 |" in result.err
    kept = did(shop, "bootstrap", "--output", "json").json["kept"]
    assert [each["path"] for each in kept] == ["README.md"]


def test_two_projects_share_a_repository(shop):
    did(shop, "bootstrap")
    first = shop.text("README.md")
    folder = shop.home / "other"
    folder.mkdir()
    shop.configures(
        folder=folder, project="garden", environments={"dev": {"cluster": "main", "namespace": "d"}}
    )
    shop.go(folder)
    did(shop, "bootstrap")
    assert shop.text("README.md").startswith(first)
    assert "## Prediction APIs of garden" in shop.text("README.md")
    assert shop.paths("argocd/dev.yaml")
    assert not [path for path in shop.touched() if path.startswith("bootstrap/")]
    shop.go(shop.project)
    assert did(shop, "bootstrap").out == "nothing to change\n"


def test_a_base_chart_that_was_altered_is_refused(shop):
    did(shop, "bootstrap")
    (chart,) = [path for path in shop.paths("charts/") if path.endswith("/Chart.yaml")]
    commit_files(shop.gitops, {chart: "altered: true\n"})
    assert shop.runs("bootstrap").code == 6


# -- how it gets there -----------------------------------------------------------------------------


def test_a_dry_run_changes_nothing(shop):
    result = did(shop, "bootstrap", "--dry-run")
    assert "would commit: " in result.out
    assert "+ argocd/staging.yaml" in result.out
    assert shop.commits() == 0


def test_a_folder_gets_the_same_files(shop):
    folder = shop.home / "files"
    did(shop, "bootstrap", "--to", str(folder))
    assert shop.commits() == 0
    did(shop, "bootstrap")
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there == set(shop.paths())
    assert all((folder / path).read_text() == shop.text(path) for path in there)
    assert "0 files written" in did(shop, "bootstrap", "--to", str(folder)).out


def test_an_empty_repository_is_pushed_to_and_the_rest_is_proposed(shop):
    places = {name: {**words, "delivery": "pull_request"} for name, words in ENVIRONMENTS.items()}
    shop.configures(environments=places, gitops={"forge": {"type": "none"}})
    did(shop, "bootstrap", "-e", "staging")
    first = shop.head()
    result = did(shop, "bootstrap", "-e", "production")
    assert "pushed the branch gitops-ml/bootstrap/shop" in result.out
    assert shop.head() == first


def test_without_a_gitops_repository_the_way_to_one_is_told(ann):
    ann.has(container_api("iris"))
    (ann.project / "gitops-ml.yaml").unlink()
    assert ann.runs("bootstrap").code == 2


def test_previews_get_their_objects_and_their_chart(shop):
    forge = {
        "type": "gitea",
        "api_url": "https://git.acme.example/api/v1",
        "repository": "acme/gitops",
    }
    staging = {**ENVIRONMENTS["staging"], "previews": {"token_secret": {"name": "forge-token"}}}
    shop.configures(environments={**ENVIRONMENTS, "staging": staging}, gitops={"forge": forge})
    did(shop, "bootstrap")
    documents = list(yaml.safe_load_all(shop.text("argocd/previews/staging.yaml")))
    for document in documents:
        check_custom_resource(document)
    (chart,) = {path.rpartition("/templates/")[0] for path in shop.paths("charts/preview/")} - {""}
    assert chart == documents[2]["spec"]["template"]["spec"]["source"]["path"]
    assert shop.paths("argocd/previews/") == ["argocd/previews/staging.yaml"]
    did(shop, "bootstrap")
    assert shop.commits() == 1


def test_two_projects_of_an_environment_have_the_same_previews(shop):
    staging = {**ENVIRONMENTS["staging"], "previews": {"label": "preview"}}
    places = {**ENVIRONMENTS, "staging": staging}
    forge = {"type": "gitea", "api_url": "https://git.acme.example/api/v1", "repository": "a/b"}
    shop.configures(environments=places, gitops={"forge": forge})
    did(shop, "bootstrap")
    before = shop.text("argocd/previews/staging.yaml")
    shop.configures(project="other", environments=places, gitops={"forge": forge})
    did(shop, "bootstrap")
    assert shop.text("argocd/previews/staging.yaml") == before
    staging["previews"] = {"label": "try-it"}
    shop.configures(project="other", environments=places, gitops={"forge": forge})
    result = shop.runs("bootstrap")
    assert result.code == 6, result
    assert (
        "argocd/previews/staging.yaml in the GitOps repository has the previews of the project 'shop'"
        in result.err
    )
    shop.configures(environments=places, gitops={"forge": forge})
    did(shop, "bootstrap")
    assert "try-it" in shop.text("argocd/previews/staging.yaml")
