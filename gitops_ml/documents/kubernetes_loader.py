"""Read the scalars of YAML as Helm and Kubernetes do, whatever wrote it."""

from __future__ import annotations

import re
from typing import Any

import yaml


def _kubernetes_loader() -> Any:
    """A safe loader that reads YAML as Helm and Kubernetes do: a date, ``12:30``, ``=`` and ``<<`` are text."""
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader: Any = type("KubernetesLoader", (base,), {})
    names = ("int", "float", "timestamp", "value", "merge")
    int_, float_, date, equals, merge = (f"tag:yaml.org,2002:{name}" for name in names)
    loader.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag not in {int_, float_, date, equals}]
        for first, forms in base.yaml_implicit_resolvers.items()
    }
    loader.add_implicit_resolver(int_, _INTEGER, list("-+0123456789"))
    loader.add_implicit_resolver(float_, _NUMBER, list("-+.0123456789"))
    # As a key, `<<` merges.
    loader.add_constructor(merge, base.construct_yaml_str)
    return loader


_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)\Z")
_NUMBER = re.compile(
    r"(?:[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)
KubernetesLoader = _kubernetes_loader()
