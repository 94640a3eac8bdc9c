"""Write the files of a new project from templates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.errors import UsageError
from gitops_ml.git.commits import RenderedFile
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
