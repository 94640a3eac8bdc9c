"""Write the files of a new project, and the workflows of a CI service, from templates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gitops_ml._version import __version__
from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.errors import UsageError
from gitops_ml.git.commits import RenderedFile
from gitops_ml.git.remote import Remote
from gitops_ml.oci.reference import split_repository
from gitops_ml.project.project import Project
from gitops_ml.system.files import write_files
from gitops_ml.system.project_files import LARGEST_TEXT, read_file
from gitops_ml.system.resources import resource_directory, template

_FILES = {
    "api.yaml.j2": "api.yaml",
    "gitops-ml.yaml.j2": "gitops-ml.yaml",
    "gitopsmlignore.j2": ".gitopsmlignore",
    "predictor.py.j2": "predictor.py",
    "requirements.txt.j2": "requirements.txt",
    "sample.json.j2": "sample.json",
}
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Scaffolded:
    written: tuple[str, ...]
    kept: tuple[str, ...]
    """Files that existed already and were not changed."""
    not_applied: tuple[str, ...] = ()
    """Options that a file which was kept does not follow, each with where to write its value."""


def init(
    directory: Path,
    *,
    name: str | None,
    image_repository: str,
    gitops_repository: str,
    token_env: str = "",
) -> Scaffolded:
    """Write the files of a new project that do not exist yet.

    ``token_env`` is the variable that holds the token of the GitOps repository, if any.

    Raises:
        UsageError: ``name``, or the folder's name in its place, is not one that an API can have.
    """
    facts = {
        "name": _checked_name(directory, name),
        "image_repository": image_repository,
        "gitops_repository": gitops_repository,
        "token_env": token_env,
        "schema": _schema_path("api"),
        "project_schema": _schema_path("project"),
    }
    wanted = [
        RenderedFile(path, template(f"init/{name}", yaml=_yaml).render(facts).encode())
        for name, path in _FILES.items()
    ]
    kept = sorted(file.path for file in wanted if (directory / file.path).exists())
    new = [file for file in wanted if file.path not in kept]
    # The schemas of this version replace those of an earlier one.
    folder = resource_directory("schemas")
    new += (
        RenderedFile(_schema_path(name), (folder / f"{name}.schema.json").read_bytes())
        for name in ("api", "project")
    )
    files = ((file.path, file.content) for file in new)
    return Scaffolded(write_files(directory, files), tuple(kept))


def not_applied(directory: Path, given: Mapping[str, str]) -> tuple[str, ...]:
    """Which of the options ``given`` the files of a project do not follow, as it existed already.

    Each has where to write its value: a file that exists is never changed.
    """
    found = []
    for option, value in given.items():
        file, *path = _PLACES[option]
        if value not in _values_at(directory / file, path):
            field = ".".join(path)
            found.append(
                f"{option} {value} is not applied, as {file} exists: write it to {field} there"
            )
    return tuple(found)


_PLACES = {
    "--name": ("api.yaml", "name"),
    "--image-repository": ("gitops-ml.yaml", "image", "repository"),
    "--gitops-repository": ("gitops-ml.yaml", "gitops", "repository"),
}
"""The file of each option, and the field in it."""


def _values_at(file: Path, path: Iterable[str]) -> list[Any]:
    """What a file has at a field, of each API where it has several."""
    try:
        found = [read_yaml(read_file(file, limit=LARGEST_TEXT), file=file.name).data]
    except OSError:
        return []
    found = found[0] if isinstance(found[0], list) else found
    for key in path:
        found = [each.get(key) if isinstance(each, dict) else None for each in found]
    return found


def _checked_name(directory: Path, name: str | None) -> str:
    api = _name_from(directory) if name is None else name
    if not _NAME.fullmatch(api):
        raise UsageError(
            f"{api!r} cannot be the name of the project and its API: at most 40 lower-case letters, digits and "
            "dashes, starting with a letter. Choose one with --name"
        )
    return api


def _name_from(directory: Path) -> str:
    """The folder's name as an API name: other characters become dashes; it starts with a letter.

    >>> _name_from(Path("/home/ann/2. Iris_Classifier"))
    'iris-classifier'
    """
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower())
    return re.sub(r"^[^a-z]+", "", name)[:40].strip("-") or "api"


def _schema_path(name: str) -> str:
    """A file of the project: an editor finds it on every machine, and without a network."""
    return f".gitops-ml/{name}.schema.json"


def _yaml(text: str) -> str:
    return write_yaml(text).rstrip("\n")


FILES: Mapping[str, Mapping[str, str]] = {
    "github": {
        "github-check.yaml.j2": ".github/workflows/gitops-ml-check.yaml",
        "github-comment.yaml.j2": ".github/workflows/gitops-ml-comment.yaml",
        "github-deploy.yaml.j2": ".github/workflows/gitops-ml-deploy.yaml",
        "github-drift.yaml.j2": ".github/workflows/gitops-ml-drift.yaml",
    },
    "gitlab": {"gitlab.yaml.j2": ".gitlab-ci.yml"},
    "gitea": {
        "gitea-check.yaml.j2": ".gitea/workflows/gitops-ml-check.yaml",
        "github-deploy.yaml.j2": ".gitea/workflows/gitops-ml-deploy.yaml",
        "github-drift.yaml.j2": ".gitea/workflows/gitops-ml-drift.yaml",
    },
    "bitbucket": {"bamboo.yaml.j2": "bamboo-specs/bamboo.yaml"},
}
"""Template and file, by forge. Bitbucket Data Center has Bamboo for its CI."""
ACTIONS = {
    "checkout": "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0",
    "python": "actions/setup-python@e797f83bcb11b83ae66e0230d6156d7c80228e7c # v6.0.0",
    "upload": "actions/upload-artifact@330a01c490aca151604b8cf639adc76d48f6c5d4 # v5.0.0",
    "download": "actions/download-artifact@634f93cb2916e3fdff6788551b99b062d0335ce0 # v5.0.0",
}
"""By commit: a tag can move."""
TOKEN_ENV = "GITOPS_TOKEN"  # noqa: S105 - the name of a variable
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


@dataclass(frozen=True, slots=True)
class Promotion:
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """How the jobs log in to the registry of the images."""

    host: str
    user: str
    token: str
    """Expressions of the CI service, or names of variables."""
    own_token: bool
    """Whether it is the forge's own token, so that no secret has to be stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CiFacts:
    """What the templates say about a project."""

    branch: str
    environment: str
    """Where merged changes are deployed."""
    promotions: tuple[Promotion, ...]
    registry: RegistryLogin
    token_env: str
    token_hosts: str
    """The value of ``GITOPS_ML_TOKEN_HOSTS``; empty where the GitOps repository has no host."""
    forge_host: str
    extras: str = "helm"
    """Of the package, for what the project file has."""


def write_ci(directory: Path, kind: str, project: Project, *, branch: str) -> Scaffolded:
    """Write the workflows that do not exist yet; returns which were written and which kept.

    Raises:
        UsageError: every environment is protected, or ``branch`` is not a branch.
    """
    facts = ci_facts(project, kind, branch=branch, folder=directory)
    files = rendered_files(kind, facts)
    kept = tuple(sorted(path for path in files if (directory / path).exists()))
    new = [(path, text.encode()) for path, text in files.items() if path not in kept]
    differing = tuple(
        f"{path} is not what this command writes: to have that, remove the file and run the command again"
        for path in kept
        if _content(directory / path) != files[path].encode()
    )
    return Scaffolded(write_files(directory, new), kept, differing)


def _content(path: Path) -> bytes | None:
    try:
        return read_file(path, limit=LARGEST_TEXT)
    except OSError:
        return None


def ci_facts(project: Project, kind: str, *, branch: str, folder: Path) -> CiFacts:
    """The facts of a project for the CI service of a forge."""
    if not _BRANCH.fullmatch(branch):
        raise UsageError(f"{branch!r} is not the name of a branch")
    images = project.image.repository
    if project.gitops is None or images is None:
        raise UsageError(
            "the project file has no `gitops` or no `image.repository`: CI needs both to deploy"
        )
    names = [*project.environments]
    open_ones = [name for name in names if not project.environments[name].protected]
    if not open_ones:
        raise UsageError(
            "every environment is protected, and CI deploys to none without a review: add one without "
            "`protected` to the project file"
        )
    protected = [name for name in names if project.environments[name].protected]
    sources = [open_ones[-1], *protected]
    server = Remote.parse(project.gitops.repository, folder=folder).server
    host = server if "://" in project.gitops.repository else server.partition(":")[0]
    token_env = project.gitops.token_env or TOKEN_ENV
    return CiFacts(
        branch=branch,
        environment=open_ones[0],
        promotions=tuple(map(Promotion, sources, protected)),
        registry=_registry(split_repository(images)[0], kind),
        token_env=token_env,
        token_hosts=f"{token_env}={host}" if host else "",
        forge_host=host or "localhost",
        extras=",".join(_extras(project)),
    )


def _extras(project: Project) -> Iterator[str]:
    if project.checks.rules:
        yield "cel"
    yield "helm"
    if project.image.signing:
        yield "sign"


def rendered_files(kind: str, facts: CiFacts) -> dict[str, str]:
    """The workflows by their paths."""
    return {
        path: template(f"ci/{name}", has_braces=True).render(
            asdict(facts),
            branches=f"[{facts.branch}]",
            forge_url=f"https://{facts.forge_host}",
            actions=ACTIONS,
            package=f"gitops-ml[{facts.extras}]=={__version__}",
        )
        for name, path in FILES[kind].items()
    }


def _registry(host: str, kind: str) -> RegistryLogin:
    if kind == "github" and host == "ghcr.io":
        return RegistryLogin(host, "github.actor", "github.token", own_token=True)
    if kind == "gitlab":
        if host.startswith("registry."):
            return RegistryLogin(
                "$CI_REGISTRY", "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD", own_token=True
            )
        return RegistryLogin(host, "REGISTRY_USER", "REGISTRY_TOKEN", own_token=False)
    return RegistryLogin(host, "secrets.REGISTRY_USER", "secrets.REGISTRY_TOKEN", own_token=False)
