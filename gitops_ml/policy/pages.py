"""The description of rules: `docs/rules.md`, and the answer of `check --explain`."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_ml.policy.rule import About

_HEAD = dedent("""\
    # Rules

    <!-- Written from gitops_ml/policy by tests/policy/test_pages.py; GITOPS_ML_UPDATE_GOLDEN=1 writes it again. -->

    A change of releases is checked against these rules: by `deploy` and each other command that changes releases,
    and by the Python client. A broken rule of severity `error` stops the change with exit code 7; a `warning` is
    shown; a `note` is for reviewers. `rollback` reports what it breaks, and is never stopped: it ends an incident.

    The project file sets severities, limits and exceptions:

    ```yaml
    checks:
      severities: {endpoint-changed: error, kind-changed: ignore}
      required_labels: [cost-center]
      exceptions:
        - {rule: endpoint-changed, apis: [iris], reason: No callers yet., until: 2027-01-31}
    ```

    An exception that has expired applies no longer, and is reported as `expired-exception` until it is removed.
    """)


def describe(rule: About) -> str:
    """What a person needs to know of a rule."""
    return (
        f"{rule.id}: {rule.title}\n\n"
        f"severity  {rule.severity}, unless checks.severities of the project file sets another one\n"
        f"reason    {rule.reason}\n"
        f"remedy    {_sentence(rule.remedy)}\n"
        f"page      {rule.page}\n"
    )


def rules_page(rules: Iterable[About]) -> str:
    """`docs/rules.md`."""
    return "\n".join((_HEAD, *map(_section, sorted(rules, key=lambda rule: rule.id))))


def _section(rule: About) -> str:
    return (
        f"## {rule.id}\n\n**{rule.title}.** Severity: `{rule.severity}`.\n\n"
        f"{rule.reason}\n\n*Remedy:* {_sentence(rule.remedy)}\n"
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
