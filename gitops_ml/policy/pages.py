"""The description of rules: `docs/rules.md`, and the answer of `check --explain`."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import dedent

from gitops_ml.policy.rule import About

_HEAD = dedent("""\
    # Rules

    <!-- Written from gitops_ml/policy by tests/policy/test_pages.py; GITOPS_ML_UPDATE_GOLDEN=1 writes it again. -->

    A change of releases is checked against these rules: by `gitops-ml check` for a pull request, by `deploy` and each
    other command that changes releases, and by the Python client. A broken rule of severity `error` stops the change
    with exit code 7; a `warning` is shown; a `note` is for reviewers. `rollback` reports what it breaks, and is never
    stopped: it ends an incident. `gitops-ml check --explain RULE` describes a rule.

    The document of requests and answers before a deploy is in a label of the current image. It is not known with
    `--offline`, for an image that a Docker engine built, and over 16,000 characters; a warning says so where a
    registry is asked.

    The project file sets severities, limits and exceptions:

    ```yaml
    checks:
      severities: {endpoint-changed: error, kind-changed: ignore}
      required_labels: [cost-center]
      owner_keys: [a8r.io/owner]
      promotion_only: [production]
      limits:
        - {team: fraud, environment: production, gpus: 8, cost: 20000}
      freezes:
        - {start: fri 16:00, end: mon 08:00, timezone: Europe/Oslo, reason: The team is away.}
      exceptions:
        - {rule: endpoint-changed, apis: [iris], reason: No callers yet., until: 2027-01-31}
    ```

    An exception that has expired applies no longer, and is reported as `expired-exception` until it is removed.

    `check` takes severities, exceptions, limits and `policy` from the branch that the change is merged into, so a pull
    request cannot relax its own rules. A change of these fields is reported as `rules-changed`.
    """)
_ENFORCED_HEAD = dedent("""\
    ## Refused outright

    The checks of documents refuse these in `validate` and in every other command, with exit code 3 in the normal case.

    """)
_TAIL = dedent("""\
    ## Rules of your own

    In CEL, the Common Expression Language, in the project file; install `gitops-ml[cel]` where changes are checked. The
    expression is true for a release that keeps the rule:

    ```yaml
    checks:
      rules:
        - id: acme-replicas
          title: An API in a protected environment has three replicas
          expression: "!environment.protected || release.autoscaling.min_replicas >= 3"
          field: autoscaling.min_replicas
          remedy: set autoscaling.min_replicas to 3
        - id: acme-memory
          title: A replica has at most 64 GiB
          severity: warning
          expression: release.compute.mem_bytes <= 64 * 1024 * 1024 * 1024
    ```

    | variable | what it is |
    |---|---|
    | `release` | the fields of the manifest, resolved, and `team`, `image`, `compute.cpu_cores`, `compute.mem_bytes` |
    | `before` | the same before the change; `null` for a new release |
    | `values` `objects` | Helm's values, and the rendered Kubernetes objects (an empty list without Helm) |
    | `action` `verb` | `add`, `modify` or `delete`; `check`, `deploy`, `promote`, … |
    | `environment` | `name`, `cluster`, `namespace`, `protected` |

    A rule is checked for a release that goes away only if its expression names `action`. An expression without a value,
    such as one that names a key that is not there, breaks the rule; `has(release.labels.tier)` asks first.

    In Python, in an installed package with an entry point of the group `gitops_ml.rules`. It names a `Rule` of
    `gitops_ml.policy.rule`, a list of them, or a function that returns them. Code of a checkout does not count, so a
    pull request cannot bring a rule:

    ```toml
    [project.entry-points."gitops_ml.rules"]
    acme = "acme_rules:RULES"
    ```

    ## Reports

    `check --report sarif=check.sarif --report junit=check.xml` writes files for other programs: SARIF 2.1.0 for code
    scanning, JUnit XML, `code-quality` for merge requests of GitLab, `annotations` for GitHub. `check -o github` prints
    annotations and adds the comment to the summary of the step.
    """)
ENFORCED = {
    "registry-allow-list": "Images outside of `policy.registries` are refused.",
    "policy-requests": "Annotations, labels, tolerations, priority classes, hosts, Secrets, volumes, user ids and "
    "triggers that `policy` does not allow are refused.",
    "gpu-deadlock": "An update that would wait for a GPU that the old replica holds is refused; without a strategy in "
    "the manifest, one that works is chosen.",
    "scale-to-zero": "Zero replicas without anything that wakes the API are refused, and so is a trigger on the API's "
    "own metrics, which do not exist at zero.",
    "unreachable-target": "A target of requests in flight above what a replica takes is refused: it would never scale.",
    "name-length": "Names that would make an object of Kubernetes, KEDA or Argo CD longer than it may be are refused.",
    "secret-by-shape": "A value with the shape of a token, a key or a password in a URL is refused in variables and "
    "configuration of a manifest and in the project file.",
    "uncommitted-files": "A deploy of files that no commit holds to a protected environment is refused, without "
    "--allow-dirty.",
    "prune-limit": "`--prune` removes at most `policy.prune_at_most` releases at a time.",
    "taken-route": "An endpoint that another release serves on the same host is refused.",
    "limits-of-memory": "The schema and the base chart give each container requests, and a limit of memory.",
}
"""What is refused by the checks of documents, independent of `checks` of the project file."""


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
    sections = map(_section, sorted(rules, key=lambda rule: rule.id))
    enforced = "".join(f"* **{name}**: {text}\n" for name, text in sorted(ENFORCED.items()))
    return "\n".join((_HEAD, *sections, _ENFORCED_HEAD + enforced, _TAIL))


def _section(rule: About) -> str:
    return (
        f"## {rule.id}\n\n**{rule.title}.** Severity: `{rule.severity}`.\n\n"
        f"{rule.reason}\n\n*Remedy:* {_sentence(rule.remedy)}\n"
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
