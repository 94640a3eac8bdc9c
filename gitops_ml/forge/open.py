"""Open the forge of a repository, or of a job of CI, with the token for it.

Which pull request and which repository a job runs for is in variables that only the CI service sets. No document of the
pull request takes part, so that a token goes to the server of the CI service alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gitops_ml.errors import UsageError
from gitops_ml.forge.address import forge_address
from gitops_ml.forge.api_session import ForgeSession
from gitops_ml.forge.bitbucket import Bitbucket
from gitops_ml.forge.gitea import Gitea
from gitops_ml.forge.github import GitHub
from gitops_ml.forge.gitlab import GitLab
from gitops_ml.forge.protocol import Forge
from gitops_ml.forge.token import find_token
from gitops_ml.git.remote import Remote
from gitops_ml.project.project import ForgeSpec, GitopsSpec, SourceSpec
from gitops_ml.user.secret_owner import SecretOwner

_FORGES: Mapping[str, Callable[[ForgeSession], Forge]] = {
    "github": GitHub,
    "gitlab": GitLab,
    "gitea": Gitea,
    "bitbucket": Bitbucket,
}


def forge_of(
    spec: GitopsSpec | SourceSpec,
    *,
    folder: Path,
    environ: Mapping[str, str],
    section: str = "gitops",
) -> Forge | None:
    """The forge of the repository; ``None`` where there is none, and a branch is pushed instead.

    ``section`` is the section of the project file in ``folder`` that names the repository.
    """
    remote = Remote.parse(spec.repository, folder=folder, section=section)
    address = forge_address(
        spec.forge, scheme=remote.scheme, server=remote.server, path=remote.path, section=section
    )
    if address is None:
        return None
    # The token of the repository belongs to the repository's server only.
    is_one_server = not remote.is_http or remote.server == address.host
    named = (spec.forge.token_env, spec.token_env if is_one_server else None)
    owner = SecretOwner(environ, folder)
    token = find_token(
        address.type,
        address.host,
        environ=environ,
        named=tuple(name for name in named if name),
        check=lambda name: owner.check((name,), address.api_url, place=f"{section}.forge"),
    )
    session = ForgeSession(address=address, token=token, environ=environ, section=section)
    return forge_over(session)


def forge_over(session: ForgeSession) -> Forge:
    """The forge at the other end of the session."""
    return _FORGES[session.address.type](session)


# -- the job of CI ---------------------------------------------------------------------------------

_NUMBERS = {
    "GITHUB_REF": r"refs/pull/([0-9]{1,18})/(?:merge|head)",
    "CI_MERGE_REQUEST_IID": r"([0-9]{1,18})",
    "bamboo_repository_pr_key": r"([0-9]{1,18})",
    "CHANGE_ID": r"(?:PR-|MR-)?([0-9]{1,18})",
    "CI_COMMIT_PULL_REQUEST": r"([0-9]{1,18})",
    "DRONE_PULL_REQUEST": r"([0-9]{1,18})",
    "BUILDKITE_PULL_REQUEST": r"([0-9]{1,18})",
    "CIRCLE_PULL_REQUEST": r"https?://\S+/([0-9]{1,18})",
}
"""GitHub, Gitea and Forgejo Actions; GitLab; Bamboo; Jenkins; Woodpecker; Drone; Buildkite; CircleCI."""


def pull_request_of_ci(environ: Mapping[str, str]) -> int | None:
    """The number of the pull request that the job runs for; ``None`` where it runs for none.

    >>> pull_request_of_ci({"GITHUB_REF": "refs/pull/12/merge"})
    12
    """
    found = (re.fullmatch(form, environ.get(name, "")) for name, form in _NUMBERS.items())
    return next((int(match[1]) for match in found if match), None)


def repository_of_ci(environ: Mapping[str, str]) -> tuple[str, ForgeSpec] | None:
    """The URL of the forge, and the repository there that the job runs for; ``None`` where the service names none."""
    if environ.get("GITHUB_ACTIONS") == "true" and (name := environ.get("GITHUB_REPOSITORY")):
        server = environ.get("GITHUB_SERVER_URL") or "https://github.com"
        return server, _spec(_kind_of_actions(environ), environ.get("GITHUB_API_URL"), name)
    project = environ.get("CI_MERGE_REQUEST_PROJECT_PATH") or environ.get("CI_PROJECT_PATH")
    if environ.get("GITLAB_CI") and project and (server := environ.get("CI_SERVER_URL", "")):
        return server, _spec("gitlab", environ.get("CI_API_V4_URL"), project)
    bamboo = urlsplit(environ.get("bamboo_planRepository_repositoryUrl", "")).path
    if bamboo and (server := environ.get("BITBUCKET_URL", "")):
        name = "/".join(bamboo.removesuffix(".git").strip("/").split("/")[-2:])
        return server, _spec("bitbucket", None, name)
    return None


def _spec(kind: str, api_url: str | None, repository: str) -> ForgeSpec:
    return ForgeSpec(type=kind, api_url=api_url, repository=repository, token_env=None)


def forge_of_ci(environ: Mapping[str, str]) -> Forge:
    """The forge of the repository that the job runs for.

    Raises:
        UsageError: this is no job of a CI service that names its repository.
    """
    found = repository_of_ci(environ)
    if found is None:
        raise UsageError(
            "this is no job of GitHub, Gitea, Forgejo, GitLab or Bamboo with BITBUCKET_URL: name the "
            "repository of the source in source.repository of the project file"
        )
    server, spec = urlsplit(found[0]), found[1]
    address = forge_address(
        spec, scheme=server.scheme, server=server.netloc, path="", section="source"
    )
    assert address is not None
    token = find_token(address.type, address.host, environ=environ, check=lambda _: None)
    return forge_over(ForgeSession(address=address, token=token, environ=environ, section="source"))


def _kind_of_actions(environ: Mapping[str, str]) -> str:
    is_gitea = any(environ.get(f"{name}_ACTIONS") == "true" for name in ("GITEA", "FORGEJO"))
    return "gitea" if is_gitea or "/api/v1" in environ.get("GITHUB_API_URL", "") else "github"
