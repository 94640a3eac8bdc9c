"""Read what is proposed for releases and not merged yet, from the branches of gitops-ml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gitops_ml.delivery.releases import current_releases, repository_of
from gitops_ml.errors import GitopsMlError
from gitops_ml.forge.pull_request import PullRequest
from gitops_ml.git.commits import Branch
from gitops_ml.git.repository import GitRepository, GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.commit_message import PREFIX
from gitops_ml.gitops.release_yaml import ReleaseRecord, read_release
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

_MOST = 20
"""Branches that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """One release as an open pull request would make it."""

    api: str
    environment: str
    author: str
    when: str
    """ISO 8601."""
    release: ReleaseRecord | None
    """`None` where it is to be removed."""
    pull_request: PullRequest
    """Without a forge, only its branch is known: its number is 0."""


def proposed_releases(
    workspace: Workspace, *, clients: Clients, environment: str, api: str | None = None
) -> tuple[Proposed, ...]:
    """What is proposed in an environment, for one API or for all, sorted by API."""
    repository = repository_of(workspace, clients)
    base = repository.fetch()
    found: list[Proposed] = []
    others = {each.api for each in current_releases(base, [environment])} - {api}
    names = [
        name
        for name in repository.branches(PREFIX)
        if _is_of(name, environment) and (api is None or name.rpartition("/")[2] not in others)
    ]
    for name in names[:_MOST]:
        branch = repository.read_branch(name, base=base)
        if branch is None or not branch.commits or _is_merged(branch, base):
            continue
        directories = [*_directories(branch, environment, api)]
        if directories and (pull_request := _pull_request(branch, repository, clients)):
            found += [
                _proposed(branch, directory, repository.at(branch.commit), pull_request)
                for directory in directories
            ]
    return tuple(sorted(found, key=lambda each: (each.api, each.when)))


def _is_of(branch: str, environment: str) -> bool:
    """Whether ``gitops-ml/<verb>/<environments>/<what>`` is about the environment."""
    parts = branch.split("/")
    return len(parts) == 4 and f"-{environment}-" in f"-{parts[2]}-"


def _is_merged(branch: Branch, base: GitSnapshot) -> bool:
    """Whether the base has the same files, as after a squash."""
    there = base.blob_ids()
    return all(there.get(path) == after for path, (_, after) in branch.difference.items())


def _directories(branch: Branch, environment: str, api: str | None) -> Iterator[str]:
    paths = sorted(branch.difference)
    for directory in dict.fromkeys(path.rpartition("/")[0] for path in paths):
        place = layout.release_of(f"{directory}/{layout.RELEASE}")
        if place and place[0] == environment and api in (None, place[1]):
            yield directory


def _pull_request(
    branch: Branch, repository: GitRepository, clients: Clients
) -> PullRequest | None:
    """The open pull request of a branch, or the branch where no forge answers; `None` if it is closed."""
    title = branch.commits[0].message.partition("\n")[0]
    alone = PullRequest(
        number=0, url="", title=title, state="open",
        head=branch.name, base=repository.branch, commit=branch.commit,
    )  # fmt: skip
    try:
        forge = clients.forge
        found = forge.find(head=branch.name, base=repository.branch) if forge else alone
    except GitopsMlError as failure:
        clients.progress(f"could not ask the forge for pull requests: {failure}")
        return alone
    return found if found is not None and found.is_open else None


def _proposed(
    branch: Branch, directory: str, head: GitSnapshot, pull_request: PullRequest
) -> Proposed:
    _, environment, api = directory.split("/")
    path, newest = f"{directory}/{layout.RELEASE}", branch.commits[0]
    content = head.read([path]).get(path)
    return Proposed(
        api=api,
        environment=environment,
        author=newest.author[0],
        when=newest.when,
        release=read_release(content) if content is not None else None,
        pull_request=pull_request,
    )
