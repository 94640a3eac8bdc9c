"""Render charts with Helm, as a library in this process or as a program.

Helm parses all templates of a chart at each render, which takes longer than to execute them. So many releases are
rendered in one call, with a copy of the chart that has each template as a named one, which Helm does not render by
itself, and one more that includes them for each release.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gitops_ml.documents.json_schema import Check, compile_check
from gitops_ml.documents.plain_data import merged
from gitops_ml.documents.yaml_reader import load_all_yaml, load_yaml
from gitops_ml.errors import ProgramFailed, UsageError
from gitops_ml.system import process

_OWN_CONTEXT = re.compile(r"\.(?:Template|Subcharts)\b")
"""What a template finds out about itself, and what the copy does not have."""
_ALL = """\
{{- range $release := .Values.releases }}
{{- $context := dict "Values" .values "Release" .release "Chart" $.Chart }}
{{- $context = merge $context (dict "Files" $.Files "Capabilities" $.Capabilities) }}
{{- range $.Values.templates }}
{{ $.Values.mark }} {{ . }}
{{ include (printf "%s/templates/_%s" $.Chart.Name .) $context }}
{{- end }}
{{- end }}
"""


class WantedRelease(NamedTuple):
    """A release to render."""

    name: str
    namespace: str
    values: Mapping[str, Any]


def chart_for_many(chart: Path, copy: Path, *, without: Iterable[str]) -> bool:
    """Write the copy of a chart; false where its templates cannot be included by another one."""
    templates = chart / "templates"
    texts = [path.read_text("utf-8") for path in sorted(templates.rglob("*")) if path.is_file()]
    if any(map(_OWN_CONTEXT.search, texts)) or any(path.is_dir() for path in templates.iterdir()):
        return False
    shutil.copytree(chart, copy, ignore=shutil.ignore_patterns(*without))
    for path in sorted((copy / "templates").glob("*.yaml")):
        path.rename(path.with_name(f"_{path.name}"))
    (copy / "values.yaml").write_text("{}\n")
    (copy / "templates" / "all.yaml").write_text(_ALL)
    return True


def values_of_many(
    releases: Iterable[WantedRelease], templates: Sequence[str], *, mark: str
) -> dict[str, Any]:
    """The values of the copy; those of a release are merged with the chart's defaults."""
    return {
        "mark": mark,
        "templates": list(templates),
        "releases": [
            {
                "values": each.values,
                "release": {
                    "Name": each.name,
                    "Namespace": each.namespace,
                    "Service": "Helm",
                    "Revision": 1,
                    "IsInstall": True,
                    "IsUpgrade": False,
                },
            }
            for each in releases
        ],
    }


Objects = tuple[Mapping[str, Any], ...]


class HelmEngine(ABC):
    """Helm, as a library in this process or as a program; both give the same objects."""

    def template(
        self, chart: Path, *, release: str, namespace: str, values: Mapping[str, Any]
    ) -> Objects:
        """The Kubernetes objects of one release, in Helm's order, without notes and hooks.

        Raises:
            ProgramFailed: Helm refuses the values or a template fails; with Helm's message.
        """
        made = self._render(chart, release=release, namespace=namespace, values=values)
        objects = (item for path, text in made.files for item in _objects(text, path, made.command))
        return in_helm_order(item for item in objects if not _is_hook(item))

    def manifest(
        self, chart: Path, *, release: str, namespace: str, values: Mapping[str, Any]
    ) -> str:
        """The same objects as Helm's own text: a YAML stream, each document after a ``---``.

        Raises:
            ProgramFailed: as `template`.
        """
        made = self._render(chart, release=release, namespace=namespace, values=values)
        return _stream(document for _, text in made.files for document in _documents(text))

    def manifests(
        self, chart: Path, releases: Sequence[WantedRelease]
    ) -> list[str | ProgramFailed]:
        """The `manifest` of each release, or why Helm refuses it."""
        return [self._manifest(chart, each) for each in releases]

    def _manifest(self, chart: Path, wanted: WantedRelease) -> str | ProgramFailed:
        name, namespace, values = wanted
        try:
            return self.manifest(chart, release=name, namespace=namespace, values=values)
        except ProgramFailed as failure:
            return failure

    @abstractmethod
    def _render(
        self, chart: Path, *, release: str, namespace: str, values: Mapping[str, Any]
    ) -> _Rendered: ...


class _Rendered(NamedTuple):
    files: list[tuple[str, str]]
    """Path and text of each template but the notes and the helpers, or of all in one stream."""
    command: tuple[str, ...]
    """For messages."""


def find_helm(*, path: str | None = None) -> HelmEngine:
    """The library if it is installed and loads, else the program on ``path`` (default: PATH).

    Raises:
        UsageError: there is neither; the message has both ways to install one.
    """
    if library := LibraryHelm.load():
        return library
    environ = os.environ if path is None else {"PATH": path}
    if program := shutil.which("helm", path=process.absolute_path(environ)):
        return ProgramHelm(Path(program))
    raise UsageError(
        "rendering Kubernetes objects needs Helm: install it as a library with "
        "`pip install 'gitops-ml[helm]'`, or put the program helm on PATH (https://helm.sh/docs/intro/install)"
    )


@dataclass(frozen=True, slots=True)
class _LoadedChart:
    """A chart in the library, and a copy without notes and schema, which Helm compiles at each render."""

    whole: Any
    bare: Any
    defaults: Mapping[str, Any]
    accepts: Check | None
    """Whether the schema accepts merged values; ``None`` where only Helm can check."""
    many: Any = None
    """A copy for many releases; ``None`` where each is rendered by itself."""
    templates: tuple[str, ...] = ()
    """Those that it includes."""

    def chart_for(self, values: Mapping[str, Any]) -> Any:
        """The chart to render ``values`` with: the whole one where Helm may refuse them."""
        if self.accepts is not None and self.accepts(merged(self.defaults, values)):
            return self.bare
        return self.whole


class LibraryHelm(HelmEngine):
    """Helm's library in this process: some milliseconds a release."""

    def __init__(self, library: Any) -> None:
        self._library = library
        # A loaded chart that two threads share is a data race inside the library.
        self._loaded = threading.local()

    @classmethod
    def load(cls) -> LibraryHelm | None:
        """The engine; ``None`` where the library is missing or does not run on this machine."""
        try:
            import helm_python
        except ImportError:
            return None
        try:
            helm_python.helm_sdk_version()
        except (helm_python.HelmLibraryError, OSError):
            return None
        return cls(helm_python)

    def _render(
        self, chart: Path, *, release: str, namespace: str, values: Mapping[str, Any]
    ) -> _Rendered:
        command = ("helm", "template", release, str(chart))
        try:
            loaded = self._chart(chart).chart_for(values)
            files = loaded.render(dict(values), name=release, namespace=namespace)
        except self._library.HelmError as error:
            raise ProgramFailed(command, 1, str(error)) from error
        shown = [
            (path, files[path])
            for path in sorted(files)
            if not path.endswith("/NOTES.txt") and not path.rpartition("/")[2].startswith("_")
        ]
        return _Rendered(shown, command)

    def manifests(
        self, chart: Path, releases: Sequence[WantedRelease]
    ) -> list[str | ProgramFailed]:
        together = self._together(self._chart(chart), releases) if len(releases) > 1 else None
        return super().manifests(chart, releases) if together is None else [*together]

    def _together(
        self, loaded: _LoadedChart, releases: Sequence[WantedRelease]
    ) -> list[str] | None:
        """The manifests, rendered at once; `None` where Helm may refuse one: its message is about that one alone."""
        if loaded.many is None or loaded.accepts is None:
            return None
        whole = [each._replace(values=merged(loaded.defaults, each.values)) for each in releases]
        if not all(loaded.accepts(each.values) for each in whole):
            return None
        # A line that no value of a release can have, before the text of each template.
        mark, size = f"# {secrets.token_hex(16)}", len(loaded.templates)
        values = values_of_many(whole, loaded.templates, mark=mark)
        try:
            files = loaded.many.render(values, name="all", namespace="all")
        except self._library.HelmError:
            return None
        text = files[f"{loaded.many.metadata['name']}/templates/all.yaml"]
        bodies = [part.partition("\n")[2] for part in text.split(f"{mark} ")[1:]]
        found = (bodies[at : at + size] for at in range(0, len(bodies), size))
        return [_stream(d for body in each for d in _documents(body)) for each in found]

    def _chart(self, folder: Path) -> _LoadedChart:
        charts: dict[str, _LoadedChart] = vars(self._loaded).setdefault("charts", {})
        key = os.fspath(folder.absolute())
        if key not in charts:
            charts[key] = self._load(folder)
        return charts[key]

    def _load(self, folder: Path) -> _LoadedChart:
        whole = self._library.Chart.load(os.fspath(folder.absolute()))
        self._check_dependencies(whole)
        schema = folder / _SCHEMA
        # A dependency has its own schema, which only Helm applies.
        if whole.dependencies or not schema.is_file():
            return _LoadedChart(whole, whole, {}, None)
        try:
            accepts = compile_check(json.loads(schema.read_bytes()))
        except ValueError:
            return _LoadedChart(whole, whole, {}, None)
        with tempfile.TemporaryDirectory(prefix="gitops-ml-chart-") as place:
            copy = Path(place, folder.name)
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(_SCHEMA, "NOTES.txt"))
            bare = self._library.Chart.load(os.fspath(copy))
            copy = Path(place, "many", folder.name)
            has_copy = chart_for_many(folder, copy, without=(_SCHEMA, "NOTES.txt"))
            many = self._library.Chart.load(os.fspath(copy)) if has_copy else None
        defaults = load_yaml((folder / "values.yaml").read_bytes()) or {}
        names = sorted(path.name for path in (folder / "templates").glob("*.yaml"))
        return _LoadedChart(whole, bare, defaults, accepts, many, tuple(names))

    def _check_dependencies(self, chart: Any) -> None:
        """Refuse a chart with missing dependencies, as the program does; the library would render it."""
        declared = {d.get("alias") or d["name"] for d in chart.metadata.get("dependencies") or ()}
        present = {d["name"] for d in chart.dependencies}
        if missing := sorted(declared - present):
            raise self._library.HelmChartLoadError(
                "found in Chart.yaml, but missing in charts/ directory: " + ", ".join(missing)
            )


_SCHEMA = "values.schema.json"
_LONGEST_RENDERING = 120.0
"""Seconds; a chart of the GitOps repository may be one that never ends."""


class ProgramHelm(HelmEngine):
    """The program ``helm``: some 40 milliseconds a release."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def _render(
        self, chart: Path, *, release: str, namespace: str, values: Mapping[str, Any]
    ) -> _Rendered:
        # After `--`: a name out of the GitOps repository is never an option, such as --post-renderer.
        command = [
            str(self._program), "template", f"--namespace={namespace}", "--no-hooks",
            "--values=-", "--", release, str(chart.absolute()),
        ]  # fmt: skip
        try:
            done = process.run(command, input=_values_text(values), timeout=_LONGEST_RENDERING)
        except ProgramFailed as failure:
            message = failure.stderr.removeprefix("Error: ").removesuffix(_ADVICE)
            raise ProgramFailed(failure.command, failure.returncode, message) from failure
        return _Rendered([(str(chart), done.text)], done.command)


def _values_text(values: Mapping[str, Any]) -> str:
    """The values as JSON that is also YAML: without escaped surrogates or unprintable characters."""
    text = json.dumps(dict(values), ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_ADVICE = "\n\nUse --debug flag to render out invalid YAML\n"


def _objects(text: str, path: str, command: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    try:
        for item in load_all_yaml(text):
            if not isinstance(item, dict):
                raise ProgramFailed(command, 1, f"{path} renders something that is not an object")
            yield item
    except yaml.YAMLError as error:
        raise ProgramFailed(command, 1, f"YAML parse error on {path}: {error}") from error


def _documents(text: str) -> Iterator[str]:
    """The documents of a stream as text, without Helm's comments on their source."""
    for document in _SEPARATOR.split(text):
        kept = _SOURCE.sub("", document).strip("\n")
        # Only a document with the text of a hook is parsed.
        if kept.strip() and not ("helm.sh/hook" in kept and _is_hook(load_yaml(kept))):
            yield kept


def _stream(documents: Iterable[str]) -> str:
    kinds = [
        {"kind": match[1] if (match := _KIND.search(text)) else "", "text": text}
        for text in documents
    ]
    return "".join(f"---\n{item['text']}\n" for item in in_helm_order(kinds))


_SEPARATOR = re.compile(r"^---[ \t]*$", re.M)
_SOURCE = re.compile(r"^# Source: .*\n?", re.M)
_KIND = re.compile(r"^kind: [\"']?(\w+)", re.M)


def _is_hook(item: Mapping[str, Any]) -> bool:
    annotations = (item.get("metadata") or {}).get("annotations") or {}
    return "helm.sh/hook" in annotations


_INSTALL_ORDER = (
    "PriorityClass", "Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange",
    "PodSecurityPolicy", "PodDisruptionBudget", "ServiceAccount", "Secret", "SecretList",
    "ConfigMap", "StorageClass", "PersistentVolume", "PersistentVolumeClaim",
    "CustomResourceDefinition", "ClusterRole", "ClusterRoleList", "ClusterRoleBinding",
    "ClusterRoleBindingList", "Role", "RoleList", "RoleBinding", "RoleBindingList", "Service",
    "DaemonSet", "Pod", "ReplicationController", "ReplicaSet", "Deployment",
    "HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob", "IngressClass", "Ingress",
    "APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
)  # fmt: skip
_RANK = {kind: rank for rank, kind in enumerate(_INSTALL_ORDER)}


def in_helm_order(objects: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Known kinds in Helm's order, then the others by kind; within a kind unchanged."""
    return tuple(sorted(objects, key=_place))


def _place(item: Mapping[str, Any]) -> tuple[int, str]:
    kind = str(item.get("kind", ""))
    rank = _RANK.get(kind, len(_RANK))
    return rank, kind if rank == len(_RANK) else ""
