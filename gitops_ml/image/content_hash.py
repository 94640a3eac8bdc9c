"""The content hash: one fingerprint of everything that decides the content of an image.

An API's image is decided by the files of its project directory after the ignore rules, the files
of ``predictor_base``, and the recipe. What is mounted or set at run time (``predictor.config``,
``env``, autoscaling, …) does not enter, so a change of it rolls out the image that exists.
APIs whose manifests are in one directory share that directory as their context, and its changes:
give each API its own directory where that matters.

Not in it either: times, owners, absolute paths, permissions other than the owner's exec bit, git
state, the host.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii
from operator import attrgetter

from gitops_ml.oci.reference import ImageRef

HASH_FORMAT = 1
"""Counts up when the meaning of the hash changes, so that every image is built again."""


@dataclass(frozen=True, slots=True, order=True)
class InputFile:
    """One file or symbolic link that enters an image.

    ``fingerprint`` is the sha256 hex of a file's bytes, or the link's target as written.
    """

    path: str
    """POSIX, relative to the root of the build context."""
    is_link: bool
    is_executable: bool
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ContentHash:
    """The fingerprint of everything that enters an image: 64 hex digits of sha256."""

    hex: str

    @property
    def tag(self) -> str:
        """``h-`` and 20 hex digits; the letter keeps YAML from reading a number."""
        return f"h-{self.hex[:20]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the inputs become an image."""

    builder: str
    """The builder and the version of its behaviour, such as ``docker/1``."""
    template: str
    """sha256 hex of the text that the builder follows: the Dockerfile without its own hash."""
    base: ImageRef
    """The base image; its digest counts, its name and tag do not."""
    platform: str
    """``os/architecture[/variant]``."""
    python_version: str
    build_args: Mapping[str, str] = field(default_factory=dict)
    """Arguments that change what is built; proxies and credentials do not belong here."""

    def __post_init__(self) -> None:
        if self.base.digest is None:
            raise ValueError(f"the base image {self.base} has no digest: resolve it before hashing")


def content_hash(inputs: Iterable[InputFile], *, recipe: Recipe) -> ContentHash:
    """The fingerprint of ``inputs``, in any order, built by ``recipe``.

    Raises:
        ValueError: two inputs have the same path.
    """
    facts = {
        "format": HASH_FORMAT,
        "builder": recipe.builder,
        "template": recipe.template,
        "base": recipe.base.digest,
        "platform": recipe.platform,
        "python": recipe.python_version,
        "args": dict(recipe.build_args),
    }
    # Each line is canonical JSON, which escapes line feeds: no two lists of values read the same.
    digest = hashlib.sha256(_CANONICAL.encode(facts).encode("ascii") + b"\n")
    previous = None
    for file in sorted(inputs, key=attrgetter("path")):
        if file.path == previous:
            raise ValueError(f"{file.path!r} occurs twice among the inputs")
        previous = file.path
        kind = "link" if file.is_link else "executable" if file.is_executable else "file"
        # The same for a list of texts, in a third of the encoder's time: an image has a hundred of them.
        texts = map(encode_basestring_ascii, (file.path, kind, file.fingerprint))
        digest.update(f"[{','.join(texts)}]\n".encode("ascii"))
    return ContentHash(digest.hexdigest())


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"))
