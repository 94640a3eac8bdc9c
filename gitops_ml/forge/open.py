"""Open the forge of a repository, with the token for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gitops_ml.forge.address import forge_address
from gitops_ml.forge.api_session import ForgeSession
from gitops_ml.forge.bitbucket import Bitbucket
from gitops_ml.forge.gitea import Gitea
from gitops_ml.forge.github import GitHub
from gitops_ml.forge.gitlab import GitLab
from gitops_ml.forge.protocol import Forge
from gitops_ml.forge.token import find_token
from gitops_ml.git.remote import Remote
from gitops_ml.project.project import GitopsSpec, SourceSpec
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

    Raises:
        UsageError: the forge is unknown.
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
