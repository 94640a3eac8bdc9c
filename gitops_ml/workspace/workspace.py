"""The documents of one call, read and checked: the project, its manifests, and their releases.

Every error of every file is found before anything else happens, so that one run reports them all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gitops_ml.documents.yaml_reader import LARGEST_FILE, Document, read_yaml
from gitops_ml.errors import InvalidDocument, Problem, Problems, UsageError
from gitops_ml.gitops import layout
from gitops_ml.manifest.conflicts import check_manifests
from gitops_ml.manifest.manifest import Manifest, parse_manifests, parse_partly
from gitops_ml.project.project import ClusterSpec, EnvironmentSpec, Project
from gitops_ml.project.reader import default_project
from gitops_ml.release.resolve import UNSERVED, resolve, unresolvable
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.system.cache import Seal, cache_folder
from gitops_ml.system.memory import Memory
from gitops_ml.system.memory import key as memory_key
from gitops_ml.system.project_files import current_folder, read_file
from gitops_ml.workspace.manifest_files import (
    Found,
    absolute,
    dependency_problems,
    find,
    label,
    missing_files,
    project_file_of,
    read_project_file,
    read_text,
)
from gitops_ml.workspace.partial_checks import Located, partial_problems
from gitops_ml.workspace.predictor_files import source_problems
from gitops_ml.workspace.remembered import manifest_facts, manifests_of_facts, remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The project, its manifests and releases, and the problems in them."""

    root: Path
    """The folder of the project file, or the current one."""
    project: Project
    has_project_file: bool
    environments: tuple[str, ...]
    """Those that were selected."""
    problems: Problems
    memory: Memory
    files: tuple[str, ...] = ()
    """The manifests' files, as they are named in messages."""
    manifests: tuple[Manifest, ...] = ()
    releases: tuple[PlannedRelease, ...] = ()
    covers_project: bool = False
    """Whether all manifests of the project were read: a release without one is left behind."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """By API, the folder of the predictor of a manifest that is in no file."""
    packaged: frozenset[Path] = frozenset()
    """Those of the folders that are in the cache, where nothing is committed."""
    origin: Mapping[str, Any] | None = None
    """Where the call comes from, if not from a checkout: a notebook's cell, a step of a flow."""

    def directories(self) -> set[str]:
        """The directories that releases of the manifests have, also of kinds that are not served."""
        return {
            layout.release_directory(environment, manifest.name)
            for environment in self.environments
            for manifest in self.manifests
        }

    def directory_of(self, manifest: Manifest) -> Path:
        """The folder that the predictor's paths start from."""
        return self.folders.get(manifest.name) or current_folder() / manifest.directory

    def manifest_text(self, manifest: Manifest) -> bytes:
        """The content of the manifest's file; written from the manifest where it is in no file."""
        if manifest.name in self.folders:
            from gitops_ml.documents.yaml_writer import write_yaml

            return write_yaml([dict(manifest.submitted)]).encode()
        return read_file(current_folder() / manifest.file, limit=LARGEST_FILE)

    def source_path(self, manifest: Manifest) -> str:
        """The manifest's file, relative to the project."""
        return Path(os.path.relpath(current_folder() / manifest.file, self.root)).as_posix()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedProject:
    """A project from a file, from a dict, or from both."""

    root: Path
    """The folder of the project file, or the current one."""
    project: Project
    document: Mapping[str, Any]
    """As given."""
    file: Path | None
    """`None` where the project is in no file, or differs from its file."""

    def key(self) -> bytes:
        """The key of its fields for the memory."""
        return dict_key(self.document)

    def delivery_of(self, environment: str) -> str | None:
        """``push`` or ``pull_request``, if the project sets it for this environment."""
        fields = (self.document.get("environments") or {}).get(environment) or {}
        delivery = fields.get("delivery")
        return str(delivery) if delivery else None


@dataclass(eq=False, slots=True)
class PlannedRelease:
    """One API in one environment. A remembered one is not resolved until `spec` is used."""

    manifest: Manifest
    project: Project
    environment: EnvironmentSpec
    team: str
    ready_image: str | None = None
    """The image that the manifest names; `None` where one is built."""
    has_proxy: bool = False
    key: bytes = b""
    """Of everything that the release follows from, except its image."""
    _spec: ReleaseSpec | None = None

    @property
    def cluster(self) -> ClusterSpec:
        return self.project.clusters[self.environment.cluster]

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def directory(self) -> str:
        """Of the release in the GitOps repository; no two releases share one."""
        return layout.release_directory(self.environment.name, self.name)

    @property
    def spec(self) -> ReleaseSpec:
        """The release, resolved."""
        if self._spec is None:
            self._spec = resolve(self.manifest, self.project, self.environment.name)
        return self._spec


def open_project(
    paths: Sequence[Path],
    *,
    project_file: Path | None = None,
    environments: Iterable[str] = (),
    apis: Iterable[str] = (),
    instead: LoadedProject | None = None,
    may_be_empty: bool = False,
    spares_protected: bool = False,
) -> Workspace:
    """The one project of the paths, with the problems in it.

    ``instead`` is used in place of the project file. With ``may_be_empty``, a project file without
    manifests is enough: a project that lost its last API still has releases to remove. With
    ``spares_protected``, protected environments are selected by their names only.

    Raises:
        UsageError: a path, an environment or an API does not exist, there is no manifest, or there
            are several projects.
        InvalidDocument: a manifest is a symlink that leaves the project.
    """
    found = find(paths, project_file=project_file)
    if not found.manifests and not (may_be_empty and found.project_file):
        raise no_manifest(paths)
    covers = found.root in [absolute(path) for path in paths or [Path()]]
    return read_found(
        found,
        environments=environments,
        apis=apis,
        covers_project=covers,
        instead=instead,
        spares_protected=spares_protected,
    )


def open_settings(
    project_file: Path | None = None, *, environments: Iterable[str] = ()
) -> Workspace:
    """The project of this folder without its manifests, for verbs that read only Git.

    Raises:
        UsageError: the project file or an environment does not exist.
        InvalidDocument: the project file is wrong.
    """
    root, file = project_file_of(project_file)
    project, problems = read_project_file(file)
    if project is None:
        raise InvalidDocument(Problems.of(problems).errors)
    return Workspace(
        root=root,
        project=project,
        has_project_file=file is not None,
        environments=chosen_environments(project, tuple(environments)),
        problems=Problems.of(problems),
        memory=open_memory(),
    )


def no_manifest(paths: Sequence[Path]) -> UsageError:
    """The error where no manifest was found."""
    places = ", ".join(str(path) for path in paths) or "this folder"
    return UsageError(
        f"there is no manifest (api.yaml) in or below {places}; `gitops-ml init` writes one"
    )


def read_found(
    found: Found,
    *,
    environments: Iterable[str],
    apis: Iterable[str],
    covers_project: bool,
    instead: LoadedProject | None = None,
    spares_protected: bool = False,
) -> Workspace:
    memory = open_memory()
    project, project_key, problems = _read_project(found, instead)
    manifests, partly, keys, more = _read_manifests(found, project, memory)
    known = project.environments if project is not None else ()
    problems += [*more, *check_manifests(manifests, environments=known)]
    manifests = _chosen_apis(manifests, tuple(apis), is_complete=not more)
    releases: tuple[PlannedRelease, ...] = ()
    chosen: tuple[str, ...] = ()
    if project is not None:
        chosen = chosen_environments(project, tuple(environments), spares_protected)
        keys = {name: memory_key(key, project_key) for name, key in keys.items()}
        releases, refused = resolve_releases(manifests, keys, project, chosen, memory)
        problems += refused
    problems += partial_problems(partly, project, chosen, memory=memory, check=check_planned)
    return Workspace(
        root=found.root,
        project=project or default_project(),
        has_project_file=found.project_file is not None,
        environments=chosen,
        covers_project=covers_project and not tuple(apis),
        files=tuple(label(file) for file in found.manifests),
        manifests=manifests,
        releases=releases,
        problems=Problems.of(set(problems)),
        memory=memory,
    )


def _read_project(
    found: Found, instead: LoadedProject | None
) -> tuple[Project | None, bytes, list[Problem]]:
    """The project, the bytes that it follows from, and its problems."""
    if instead is not None:
        return instead.project, instead.key(), []
    project, problems = read_project_file(found.project_file)
    content = b""
    if project is not None and found.project_file is not None:
        content = read_file(found.project_file, limit=LARGEST_FILE)
    return project, content, list(problems)


def checked(workspace: Workspace, *, besides: str = "") -> Workspace:
    """The workspace, if it has no errors, but those of one rule, and an API of it can be served.

    APIs of a kind that this version cannot deploy do not stop the others: `unserved_problems` has them.

    Raises:
        InvalidDocument: with every problem of every file.
    """
    unserved = () if workspace.releases else unserved_problems(workspace)
    stops = [replace(problem, severity="error") for problem in unserved]
    errors = (each for each in workspace.problems.errors if each.rule != besides)
    if problems := (*errors, *stops):
        raise InvalidDocument(problems)
    return workspace


def unserved_problems(workspace: Workspace) -> tuple[Problem, ...]:
    """A warning for each API of a kind that this version cannot deploy."""
    found = workspace.problems.warnings
    return tuple(problem for problem in found if problem.rule == UNSERVED)


def dict_key(data: Any) -> bytes:
    """The key of plain data for the memory."""
    # What JSON cannot express is refused by `document_of`, with its path.
    return memory_key("dict", json.dumps(data, sort_keys=True, default=repr))


def open_memory() -> Memory:
    """The results of earlier calls; none where there is no place for a cache."""
    try:
        return Memory(cache_folder(os.environ), seal=Seal.of_user(os.environ))
    except UsageError:
        return Memory(Path(os.devnull), seal=Seal(b""))


def _read_manifests(
    found: Found, project: Project | None, memory: Memory
) -> tuple[tuple[Manifest, ...], list[Located], dict[str, bytes], list[Problem]]:
    """The manifests, those that are right in part, the key of each one's file by its name, and the problems."""
    wanted = []
    partly: list[Located] = []
    for file in found.manifests:
        text = read_text(file, label=label(file))
        key = memory_key("manifests", label(file), text) if isinstance(text, bytes) else b""
        wanted.append((key, (file, text)))
    read = remembered(
        memory,
        wanted,
        make=lambda item: _parse_file(item, partly),
        facts=manifest_facts,
        of_facts=lambda item, facts: manifests_of_facts(item[0], facts),
    )
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    keys: dict[str, bytes] = {}
    sources: list[Located] = []
    for (key, (file, _)), (parsed, more) in zip(wanted, read, strict=True):
        for manifest in parsed:
            problems += missing_files(manifest, file.parent)
            problems += dependency_problems(manifest, file.parent)
            keys[manifest.name] = key
            sources.append((manifest, file.parent))
        manifests += parsed
        problems += more
    problems += source_problems(sources, project, memory)
    return tuple(manifests), partly, keys, problems


def _parse_file(
    item: tuple[Path, bytes | Document], partly: list[Located]
) -> tuple[tuple[Manifest, ...], tuple[Problem, ...]]:
    file, text = item
    document = read_yaml(text, file=label(file)) if isinstance(text, bytes) else text
    manifests, problems = parse_manifests(document)
    if Problems.of(problems).errors:
        partly += [(each, file.parent) for each in parse_partly(document)]
    return manifests, problems


def chosen_environments(
    project: Project, wanted: tuple[str, ...], spares_protected: bool = False
) -> tuple[str, ...]:
    """Those of ``wanted``, or all; with ``spares_protected``, all that are not protected.

    Raises:
        UsageError: the project has no such environment, or protected ones only.
    """
    if unknown := [name for name in wanted if name not in project.environments]:
        raise UsageError(
            f"unknown environment {unknown[0]!r}; the project has: "
            f"{', '.join(project.environments)}"
        )
    known = project.environments
    spared = project.protected if spares_protected else ()
    found = tuple(dict.fromkeys(wanted)) or tuple(name for name in known if name not in spared)
    if known and not found:
        names = ", ".join(known)
        raise UsageError(f"every environment is protected ({names}): name one with --environment")
    return found


def _chosen_apis(
    manifests: tuple[Manifest, ...], wanted: tuple[str, ...], *, is_complete: bool
) -> tuple[Manifest, ...]:
    names = {manifest.name for manifest in manifests}
    unknown = [name for name in wanted if name not in names]
    # An API whose manifest is wrong is not among them: then its problems are reported.
    if unknown and is_complete:
        raise UsageError(
            f"no API {unknown[0]!r}; the manifests have: {', '.join(sorted(names)) or 'none'}"
        )
    return tuple(m for m in manifests if not wanted or m.name in wanted)


def resolve_releases(
    manifests: Iterable[Manifest],
    keys: Mapping[str, bytes],
    project: Project,
    environments: Iterable[str],
    memory: Memory,
) -> tuple[tuple[PlannedRelease, ...], list[Problem]]:
    """Each manifest in each environment, and its problems there.

    ``keys`` has a key for each API, of everything that it follows from.
    """
    problems: list[Problem] = []
    wanted = []
    for manifest in manifests:
        if refused := [manifest.problem(finding) for finding in unresolvable(manifest, project)]:
            problems += refused
            continue
        for environment in environments:
            key = memory_key("release", manifest.name, environment, keys[manifest.name])
            wanted.append((key, (manifest, project, environment, key)))
    planned = []
    for plan, found in remembered(
        memory,
        wanted,
        make=lambda item: check_planned(*item),
        facts=lambda plan: [plan.team, plan.ready_image, plan.has_proxy],
        of_facts=_planned_of_facts,
    ):
        planned.append(plan)
        problems += found
    return tuple(planned), problems


def check_planned(
    manifest: Manifest, project: Project, environment: str, key: bytes = b""
) -> tuple[PlannedRelease, list[Problem]]:
    """A manifest in one environment, resolved, and the problems of that release."""
    # Imported late: a remembered release is not checked again, and the rules take long to import.
    from gitops_ml.release.rules.check_release import check_release
    from gitops_ml.release.rules.effect import effect_findings

    spec = resolve(manifest, project, environment)
    image = spec.container.image if spec.container else None
    place = project.environments[environment]
    has_proxy = spec.container is not None and spec.container.proxy is not None
    plan = PlannedRelease(manifest, project, place, spec.team, image, has_proxy, key, spec)
    findings = (
        *check_release(
            spec, plan.cluster, environment=place, teams=project.teams, images=project.image
        ),
        *effect_findings(manifest, spec, plan.cluster),
    )
    return plan, [manifest.problem(finding, environment=environment) for finding in findings]


def _planned_of_facts(
    item: tuple[Manifest, Project, str, bytes], facts: tuple[str, str | None, bool]
) -> PlannedRelease:
    manifest, project, environment, key = item
    return PlannedRelease(manifest, project, project.environments[environment], *facts, key)
