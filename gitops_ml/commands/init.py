"""Write the files of a new project from templates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.errors import UsageError
from gitops_ml.git.commits import RenderedFile
from gitops_ml.system.files import write_files
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
    wanted = _render(
        {
            "name": _checked_name(directory, name),
            "image_repository": image_repository,
            "gitops_repository": gitops_repository,
            "token_env": token_env,
            "schema": _schema_path("api"),
            "project_schema": _schema_path("project"),
        }
    )
    kept = sorted(file.path for file in wanted if (directory / file.path).exists())
    new = [file for file in wanted if file.path not in kept]
    files = ((file.path, file.content) for file in (*new, *_schemas()))
    return Scaffolded(write_files(directory, files), tuple(kept))


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


def _schemas() -> list[RenderedFile]:
    """The schemas of this version, which replace those of an earlier one."""
    folder = resource_directory("schemas")
    return [
        RenderedFile(_schema_path(name), (folder / f"{name}.schema.json").read_bytes())
        for name in ("api", "project")
    ]


def _render(facts: dict[str, str]) -> list[RenderedFile]:
    return [
        RenderedFile(path, template(f"init/{name}", yaml=_yaml).render(facts).encode())
        for name, path in _FILES.items()
    ]


def _yaml(text: str) -> str:
    return write_yaml(text).rstrip("\n")
