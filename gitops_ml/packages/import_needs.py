"""Which imported modules the requirements of a predictor bring."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from gitops_ml.packages.installed import distributions_of, is_of_python

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
