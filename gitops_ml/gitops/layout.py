"""The paths of a GitOps repository.

charts/<chart>/<version>/…                   base charts; a version never changes
releases/<environment>/<api>/values.yaml     the Helm values of one release
releases/<environment>/<api>/release.yaml    what the ApplicationSet reads; where it came from
releases/<environment>/<api>/manifest.yaml   the rendered objects, in mode ``manifests`` only
argocd/<environment>.yaml                    one ApplicationSet per environment
argocd/projects/<team>.yaml                  one AppProject per team
argocd/previews/<environment>.yaml           AppProjects and ApplicationSets of its previews
bootstrap/root.yaml                          the Application that syncs argocd/; applied once by ops
bootstrap/rights.yaml                        the ClusterRoles of people and of CI; applied by ops
bootstrap/dashboards/<environment>.yaml      the dashboard of all APIs; applied by ops
previews/<environment>/<branch>.yaml         what a preview of the branch's pull request shows
policy.yaml                                  limits for the releases of all projects; written by ops
"""

from __future__ import annotations

RELEASES, ARGOCD, POLICY = "releases", "argocd", "policy.yaml"
PREVIEWS = "previews"
ROOT, RIGHTS = "bootstrap/root.yaml", "bootstrap/rights.yaml"
VALUES, RELEASE, MANIFEST = "values.yaml", "release.yaml", "manifest.yaml"


def release_directory(environment: str, api: str) -> str:
    return f"{RELEASES}/{environment}/{api}"


def chart_directory(chart: str, version: str) -> str:
    return f"charts/{chart}/{version}"


def application_set_path(environment: str) -> str:
    return f"{ARGOCD}/{environment}.yaml"


def app_project_path(team: str) -> str:
    return f"{ARGOCD}/projects/{team}.yaml"


def previews_path(environment: str) -> str:
    return f"{ARGOCD}/previews/{environment}.yaml"


def preview_list_path(environment: str, branch: str) -> str:
    return f"{PREVIEWS}/{environment}/{branch}.yaml"


def fleet_dashboard_path(environment: str) -> str:
    return f"bootstrap/dashboards/{environment}.yaml"


def chart_of(path: str) -> str | None:
    """The folder of the base chart that a file belongs to, ``None`` for any other path."""
    match path.split("/"):
        case ["charts", chart, version, _, *_]:
            return chart_directory(chart, version)
    return None


def file_of(path: str) -> str | None:
    """The name of a file of a release, ``None`` for any other path."""
    match path.split("/"):
        case [first, _, _, name] if first == RELEASES:
            return name
    return None


def is_release_file(path: str) -> bool:
    return path.startswith(f"{RELEASES}/")


def release_of(path: str) -> tuple[str, str] | None:
    """Environment and API of a ``release.yaml``, ``None`` for any other path."""
    match path.split("/"):
        case [first, environment, api, last] if (first, last) == (RELEASES, RELEASE):
            return environment, api
    return None


def environment_of(path: str) -> str | None:
    """The environment of an ApplicationSet's file, ``None`` for any other path."""
    match path.split("/"):
        case [first, name] if first == ARGOCD and name.endswith(".yaml"):
            return name.removesuffix(".yaml")
    return None
