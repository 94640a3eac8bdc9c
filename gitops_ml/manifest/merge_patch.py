"""A patch: fields merged over the manifest of the current release, except those that its image holds.

What is wrong with a patch is a `UsageError`, or an `InvalidDocument` with the problems of its YAML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gitops_ml.documents.plain_data import merged
from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.errors import InvalidDocument, Problems, UsageError
from gitops_ml.manifest.cortex_spellings import current_spelling

_STEP = re.compile(r"(?:[^.\\]|\\.)+")


def setting(text: str) -> dict[str, Any]:
    r"""``autoscaling.max_replicas=7`` as ``{"autoscaling": {"max_replicas": 7}}``.

    The value is YAML: ``null`` removes the field, ``[a, b]`` is a list. A dot that is part of a
    name is written ``\.``.
    """
    path, equals, written = text.partition("=")
    steps = [re.sub(r"\\(.)", r"\1", step) for step in _STEP.findall(path)]
    if not equals or not steps or len(_STEP.sub("", path)) != len(steps) - 1:
        raise UsageError(f"{text!r} is not a setting; write path=value: autoscaling.max_replicas=7")
    document = read_yaml(f"- {written}\n".encode(), file=path)
    if document.problems or not isinstance(document.data, list) or len(document.data) != 1:
        raise UsageError(f"the value of {path} is not valid YAML: {written!r}; quote text")
    result: Any = document.data[0]
    for step in reversed(steps):
        result = {step: result}
    return dict(result)


def combined(*patches: Mapping[str, Any]) -> dict[str, Any]:
    """Several patches as one; ``null`` stays, because it removes a field of the current release."""
    result: dict[str, Any] = {}
    for patch in patches:
        for key, value in patch.items():
            below = result.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                value = combined(below, value)
            result[key] = value
    return result


def snippet(text: bytes, *, file: str, api: str) -> Mapping[str, Any]:
    """The fields in a patch file: a mapping of fields, or a list of APIs that contains ``api``."""
    document = read_yaml(text, file=file)
    if errors := Problems.of(document.problems).errors:
        raise InvalidDocument(errors)
    data = document.data
    if isinstance(data, list):
        data = next((d for d in data if isinstance(d, Mapping) and d.get("name") == api), None)
    if not isinstance(data, Mapping):
        raise UsageError(f"{file} holds neither fields of {api} nor a list of APIs with that name")
    return data


def patched(
    submitted: Mapping[str, Any], patch: Mapping[str, Any], *, environment: str
) -> dict[str, Any]:
    """The manifest with ``patch`` merged over it, in current spelling.

    A field that the API overrides for ``environment`` is also changed there, as the override wins.
    """
    body = current_spelling(submitted).body
    fields = current_spelling({"kind": body["kind"], **patch}).body
    for key in ("name", "kind"):
        if key in fields and fields[key] != body[key]:
            raise UsageError(
                f"{body['name']} has the {key} {body[key]!r}, and the patch has {fields[key]!r}: "
                "deploy it as a separate API"
            )
    result = merged(body, fields)
    own = (body.get("environments") or {}).get(environment) or {}
    if shared := _shared_with(own, {k: v for k, v in fields.items() if k != "environments"}):
        result = merged(result, {"environments": {environment: shared}})
    return result


def _shared_with(own: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``fields`` whose keys ``own`` has, too."""
    found: dict[str, Any] = {}
    for key, value in fields.items():
        if key not in own:
            continue
        if isinstance(value, Mapping) and isinstance(own[key], Mapping):
            if deeper := _shared_with(own[key], value):
                found[key] = deeper
        else:
            found[key] = value
    return found
