"""Installed distributions: which provides a module, which modules are the user's, and the requirements of a class."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import json
import re
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from gitops_ml.system.clean_text import without_credentials

_INSTALLED_FOLDERS = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Distribution:
    name: str
    """Normalised."""
    version: str
    source: str | None
    """``git+https://…@<commit>``, if it was installed from a repository."""

    @property
    def pin(self) -> str:
        """The requirement for exactly this, without a local label (``+cpu``), which indexes do not have."""
        if self.source:
            return f"{self.name} @ {self.source}"
        return f"{self.name}=={self.version.partition('+')[0]}"


def is_of_python(module: str) -> bool:
    """Whether a module comes with Python itself."""
    return module.partition(".")[0] in sys.stdlib_module_names


def own_file(module: str) -> Path | None:
    """The file of a module that is the user's own; ``None`` for installed and missing ones."""
    if is_of_python(module):
        return None
    for file in _places(module):
        is_installed = any(folder in file.parts for folder in _INSTALLED_FOLDERS)
        if is_installed or file.is_relative_to(sysconfig.get_path("stdlib")):
            return None
        return file
    return None


def _places(module: str) -> list[Path]:
    """The file of a module, or the folders of a package without an ``__init__.py``."""
    spec = _spec(module)
    if spec is None:
        return []
    if spec.origin and spec.has_location:
        return [Path(spec.origin)]
    return [Path(folder) for folder in spec.submodule_search_locations or ()]


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
    loaded = sys.modules.get(module)
    if loaded is not None and getattr(loaded, "__spec__", None) is not None:
        return loaded.__spec__
    if "." in module and module.partition(".")[0] not in sys.modules:
        # Looking for a submodule would import its parent.
        module = module.partition(".")[0]
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None


def is_importable(module: str) -> bool:
    """Whether the module exists, without importing it."""
    return _spec(module.partition(".")[0]) is not None


def distributions_of(module: str) -> tuple[Distribution, ...]:
    """The distributions that provide a module; several share a namespace such as ``google``."""
    top, _, rest = module.partition(".")
    if top not in _by_module():
        _by_module.cache_clear()  # it may have been installed meanwhile
    names = sorted(set(_by_module().get(top, ())))
    if len(names) > 1 and rest:
        having = [name for name in names if _has(name, module)]
        names = having or names
    return tuple(distribution(name) for name in names)


def distribution(name: str) -> Distribution:
    """The installed distribution of this name.

    Raises:
        importlib.metadata.PackageNotFoundError: there is none.
    """
    found = importlib.metadata.distribution(name)
    return Distribution(canonicalize_name(name), found.version, _source(found))


def installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@lru_cache
def _by_module() -> Mapping[str, Sequence[str]]:
    """The distributions of each top-level module.

    ``packages_distributions`` of Python 3.10 only knows those with a ``top_level.txt``, which
    hatchling, flit and poetry do not write.
    """
    found = {top: list(names) for top, names in importlib.metadata.packages_distributions().items()}
    if sys.version_info < (3, 11):
        for each in importlib.metadata.distributions():
            for top in tops_of(map(str, each.files or ())):
                found.setdefault(top, []).append(each.metadata["Name"])
    return found


def tops_of(files: Iterable[str]) -> set[str]:
    """The top-level modules among the files of a distribution, whose names are relative paths."""
    tops = set()
    for file in files:
        top, slash, _ = file.partition("/")
        if not slash and file.endswith((".py", ".so", ".pyd")):
            top = file.partition(".")[0]
        if top.isidentifier():
            tops.add(top)
    return tops


def _has(name: str, module: str) -> bool:
    path = module.replace(".", "/")
    files = importlib.metadata.distribution(name).files or ()
    return any(str(file).startswith((f"{path}/", f"{path}.")) for file in files)


def _source(found: importlib.metadata.Distribution) -> str | None:
    """Where a distribution was installed from, if that was a commit of a repository."""
    try:
        facts = json.loads(found.read_text("direct_url.json") or "{}")
    except ValueError:
        return None
    control = facts.get("vcs_info") or {}
    if not control.get("commit_id"):
        return None
    return f"{control.get('vcs', 'git')}+{without_credentials(facts['url'])}@{control['commit_id']}"


_OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "Crypto": ("pycryptodome",),
    "cv2": (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    "dateutil": ("python-dateutil",),
    "dotenv": ("python-dotenv",),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "fitz": ("pymupdf",),
    "jwt": ("pyjwt",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "PIL": ("pillow", "pillow-simd"),
    "psycopg2": ("psycopg2", "psycopg2-binary"),
    "sentence_transformers": ("sentence-transformers",),
    "serial": ("pyserial",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly"),
    "tflite_runtime": ("tflite-runtime",),
    "usb": ("pyusb",),
    "yaml": ("pyyaml",),
    "zmq": ("pyzmq",),
}
"""Distributions of modules that have another name."""
_NAMESPACES = frozenset({"azure", "google", "mpl_toolkits", "nvidia", "pkg_resources", "ruamel"})
"""Modules that many distributions share."""
_OF_THE_RUNTIME = frozenset(
    {
        *("anyio", "click", "cortex_internal", "h11", "httptools", "idna", "multipart", "orjson"),
        *("predictor_base", "prometheus_client", "python_multipart", "starlette", "typing_extensions"),
        *("uvicorn", "uvloop"),
    }
)  # fmt: skip
"""Modules that each image has."""
_USUAL_DEPENDENCIES = frozenset(
    {"attr", "certifi", "joblib", "numpy", "packaging", "pandas", "PIL", "pydantic", "requests", "scipy"}
    | {"tqdm", "yaml", "dateutil", "charset_normalizer", "urllib3", "jinja2", "six", "safetensors"}
)  # fmt: skip
"""Modules that other packages often bring."""


def missing_modules(
    modules: Iterable[str], names: Collection[str], *, is_locked: bool
) -> dict[str, str]:
    """The modules that none of the distributions brings, each with the distribution to require.

    ``names`` are normalised: of all packages where they are locked, else of those that are required.
    """
    wanted = [m for m in modules if not (is_of_python(m) or m in _NAMESPACES | _OF_THE_RUNTIME)]
    missing = {m: _distributions(m) for m in wanted if not _is_brought(m, names)}
    if missing and not is_locked:
        brought, is_known = _with_dependencies(names)
        missing = {
            module: found
            for module, found in missing.items()
            if not brought & {*found} and (is_known or module not in _USUAL_DEPENDENCIES)
        }
    return {module: found[0] for module, found in missing.items()}


def _is_brought(module: str, names: Collection[str]) -> bool:
    return canonicalize_name(module) in names or bool({*_distributions(module)} & {*names})


@lru_cache
def _distributions(module: str) -> tuple[str, ...]:
    """The names of distributions that have the module: known ones, installed ones, or its own name."""
    own = canonicalize_name(module)
    return _OTHER_NAMES.get(module) or tuple(d.name for d in distributions_of(module)) or (own,)


def _with_dependencies(names: Collection[str]) -> tuple[set[str], bool]:
    """What comes with the distributions, and whether all of them are installed here and thus known."""
    found, waiting, is_known = set(names), list(names), True
    while waiting:
        try:
            required = importlib.metadata.requires(waiting.pop()) or ()
        except importlib.metadata.PackageNotFoundError:
            is_known = False
            continue
        for line in required:
            try:
                name = canonicalize_name(Requirement(line).name)
            except InvalidRequirement:
                continue
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found, is_known


Pin = tuple[str, str]
"""A distribution's normalized name, and the requirement for the version that is installed."""

_BEHIND = re.compile(r"(?:^|(?<=\s))(#|--[a-z]).*$")
_INCLUDE = re.compile(r"\s*(-[rc]|--(requirement|constraint)[\s=])")
_PIPS_OWN = re.compile(r"-|\.{0,2}/|[a-z][a-z+]+://|file:|\S+\.(whl|zip|tar\.gz)$|[\w.-]+/\S*$")


@dataclass(frozen=True, slots=True)
class Requirements:
    """The content of ``requirements.txt``."""

    lines: tuple[str, ...]
    added: tuple[str, ...]
    """Those that the user did not name: the code imports their modules."""
    unknown: tuple[str, ...]
    """Imported modules that no installed distribution provides."""

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def requirements_for(
    asked: Sequence[str],
    *,
    needed: Mapping[str, Sequence[Pin]],
    installed: Callable[[str], str | None],
    elsewhere: Iterable[str] = (),
) -> Requirements:
    """The lines, the user's own first; a name without a version gets the installed one.

    ``needed`` has the distributions of each imported module, ``elsewhere`` the names of packages
    that are installed by other means (conda).
    """
    lines = [_pinned(line.strip(), installed) for line in asked if line.strip()]
    names = {name for line in lines if (name := _name(line))}
    names |= {canonicalize_name(each) for each in elsewhere}
    added: dict[str, None] = {}
    unknown: list[str] = []
    for module, pins in sorted(needed.items()):
        if names & {name for name, _ in pins} or canonicalize_name(module) in names:
            continue
        if not pins:
            unknown.append(module)
        added.update(dict.fromkeys(pin for _, pin in pins))
    return Requirements((*lines, *sorted(added)), tuple(sorted(added)), tuple(unknown))


def malformed(lines: Iterable[str]) -> str | None:
    """The first line that pip could not read; options, paths and addresses are not checked.

    >>> malformed(["numpy", "numpy==2.1.0  # tested", "-r more.txt", "./wheels/a.whl"])
    >>> malformed(["numpy; rm -rf"])
    'numpy; rm -rf'
    """
    return next((line for line in lines if is_malformed(line)), None)


def is_malformed(line: str) -> bool:
    """Whether pip could not read a line that is no option, path or address."""
    text = _BEHIND.sub("", line.strip()).strip()
    return bool(text) and not _PIPS_OWN.match(text) and _name(text) is None


def naming_a_file(lines: Iterable[str]) -> str | None:
    """The first line that includes another file, which a package does not have.

    >>> naming_a_file(["numpy", "--require-hashes", " -r requirements.txt"])
    ' -r requirements.txt'
    """
    return next((line for line in lines if _INCLUDE.match(line)), None)


def _pinned(line: str, installed: Callable[[str], str | None]) -> str:
    """The user's line; without a version, it gets the installed one."""
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return line
    if requirement.specifier or requirement.url or requirement.marker:
        return line
    version = installed(requirement.name)
    return f"{line}=={version.partition('+')[0]}" if version else line


def _name(line: str) -> str | None:
    try:
        return canonicalize_name(Requirement(line).name)
    except InvalidRequirement:
        return None
