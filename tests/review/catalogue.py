"""Changes of a source repository: what a person did, and what the comment says first.

The repository is that of `tests.support.source_changes`: ``iris`` is a predictor with 2 to 5 replicas (3 in
production), ``forest`` a ready-made container with 1 to 4, and ``painter`` a predictor on the one T4 without a
spare. ``production`` is protected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.source_changes import OTHER_DIGEST, PREDICTOR, Source

NOTHING = "This change leaves every release as it is."
IN_BOTH = "in production and staging"


def calm(api: str, where: str = IN_BOTH) -> str:
    return f"This change updates {api} {where} without a restart."


def rolls(api: str, where: str = IN_BOTH) -> str:
    return f"This change restarts {api} {where} without downtime."


def stops(api: str, where: str = IN_BOTH) -> str:
    return f"This change restarts {api} {where} with downtime."


def gone(apis: str) -> str:
    kept = f"removes {apis} in production from Git, where Argo CD keeps what runs"
    return f"This change removes {apis} in staging; {kept}"


def errors(count: int) -> str:
    return (
        f"The documents have {count} error{'s' if count > 1 else ''}, so nothing can be deployed."
    )


@dataclass(frozen=True)
class Case:
    did: str
    """What a person did."""
    change: Callable[[Source], Any]
    first: str
    """The sentence that the comment begins with."""
    shows: tuple[str, ...] = ()
    """What else is in the comment, without Markdown's escapes."""
    hides: tuple[str, ...] = field(default=())


def s(api: str, path: str, value: Any) -> Callable[[Source], None]:
    return lambda source: source.sets(api, path, value)


def p(path: str, value: Any) -> Callable[[Source], None]:
    return lambda source: source.configures(path, value)


def t(path: str, content: str | bytes) -> Callable[[Source], None]:
    return lambda source: source.text(path, content)


def both(*changes: Callable[[Source], Any]) -> Callable[[Source], None]:
    def change(source: Source) -> None:
        for each in changes:
            each(source)

    return change


def renames(source: Source) -> None:
    source.adds("lily", "iris")
    source.removes("iris")


def takes_a_name(source: Source) -> None:
    source.adds("copy", "iris")
    source.sets("copy", "name", "iris")


def moves_folder(source: Source) -> None:
    source.folders["iris"] = "flowers/iris"
    source.writes()
    import shutil

    shutil.rmtree(source.folder / "iris")


def moves_project(source: Source) -> None:
    (source.folder / "shop").mkdir()
    for name in ("gitops-ml.yaml", *source.folders.values()):
        (source.folder / name).rename(source.folder / "shop" / name)


CASES: tuple[Case, ...] = (
    # -- nothing ---------------------------------------------------------------------------------
    Case("changed nothing", lambda source: None, NOTHING),
    Case("wrote a README at the top", t("README.md", "# Shop\n"), NOTHING),
    Case("changed a workflow of CI", t(".github/workflows/ci.yaml", "on: push\n"), NOTHING),
    Case("added a notebook beside the APIs", t("notebooks/a.ipynb", "{}"), NOTHING),
    Case("added a chart of another tool", t("charts/x/Chart.yaml", "name: x\n"), NOTHING),
    Case("added a kustomization", t("kustomization.yaml", "resources: []\n"), NOTHING),
    Case(
        "wrote a comment to a manifest",
        lambda source: source.text(
            "iris/api.yaml", "# Reviewed.\n" + (source.folder / "iris/api.yaml").read_text()
        ),
        NOTHING,
    ),
    Case(
        "wrote a comment to the project file",
        lambda source: source.text(
            "gitops-ml.yaml", "# Ours.\n" + (source.folder / "gitops-ml.yaml").read_text()
        ),
        NOTHING,
    ),
    Case("changed files that the image leaves out", both(t("forest/README.md", "x")), NOTHING),
    # -- replicas --------------------------------------------------------------------------------
    Case(
        "raised the most replicas",
        s("iris", "autoscaling.max_replicas", 9),
        calm("iris"),
        (
            "- autoscaling.max_replicas: 5",
            "+ autoscaling.max_replicas: 9",
            "ScaledObject/iris",
            "no restart",
        ),
        ("Deployment/iris",),
    ),
    Case(
        "raised the fewest replicas of production",
        s("iris", "environments.production.autoscaling.min_replicas", 4),
        calm("iris", "in production"),
    ),
    Case(
        "wrote more of the fewest than of the most replicas",
        s("iris", "autoscaling.min_replicas", 9),
        errors(1),
        ("min_replicas",),
    ),
    Case(
        "wrote replicas, which the autoscaler owns",
        s("iris", "autoscaling.replicas", 3),
        errors(1),
        ("replicas",),
    ),
    Case(
        "let the API go to zero, and nothing can wake it",
        s("iris", "autoscaling.min_replicas", 0),
        errors(1),
        ("min_replicas",),
    ),
    Case(
        "let an API sleep at night",
        both(
            s("iris", "autoscaling.min_replicas", 0),
            s(
                "iris",
                "autoscaling.schedule",
                [
                    {
                        "start": "0 8 * * *",
                        "end": "0 18 * * *",
                        "timezone": "Europe/Berlin",
                        "replicas": 2,
                    }
                ],
            ),
        ),
        calm("iris"),
    ),
    Case(
        "added a schedule",
        s(
            "iris",
            "autoscaling.schedule",
            [
                {
                    "start": "0 8 * * *",
                    "end": "0 18 * * *",
                    "timezone": "Europe/Berlin",
                    "replicas": 4,
                }
            ],
        ),
        calm("iris"),
    ),
    Case(
        "changed the target of the autoscaler",
        s("iris", "autoscaling.target_in_flight", 8),
        calm("iris"),
    ),
    Case(
        "paused the autoscaler by an annotation",
        s("iris", "annotations", {"autoscaling.keda.sh/paused": "true"}),
        errors(1),
        ("annotations",),
    ),
    Case(
        "took a kind that no verb deploys yet",
        s("iris", "kind", "AsyncAPI"),
        NOTHING,
        ("releases/production/iris stays as it is", "releases/staging/iris stays as it is"),
        ("--prune",),
    ),
    # -- the predictor ---------------------------------------------------------------------------
    Case(
        "changed the predictor",
        t("iris/predictor.py", PREDICTOR + "\n# Faster.\n"),
        rolls("iris"),
        ("predictor.py", "built again"),
    ),
    Case(
        "changed the configuration of the predictor",
        s("iris", "predictor.config.threshold", 0.7),
        rolls("iris"),
        ("- predictor.config.threshold: 0.5", "unchanged"),
    ),
    Case("changed a variable", s("iris", "predictor.env", {"MODE": "fast"}), rolls("iris")),
    Case(
        "added a module of their own",
        t("iris/features.py", "def f(): ...\n"),
        rolls("iris"),
        ("+ features.py",),
    ),
    Case(
        "removed the predictor's file",
        lambda source: (source.folder / "iris/predictor.py").unlink(),
        errors(1),
        ("predictor.py",),
    ),
    Case(
        "wrote a syntax error",
        t("iris/predictor.py", "class PythonPredictor\n"),
        errors(1),
        ("predictor.py",),
    ),
    Case("forgot the class", t("iris/predictor.py", "x = 1\n"), errors(1), ("predictor",)),
    Case(
        "asked for a package",
        t("iris/requirements.txt", "numpy==2.1.0\n"),
        rolls("iris"),
        ("requirements.txt",),
    ),
    Case(
        "wrote a password to the requirements",
        t("iris/requirements.txt", "--index-url https://u:Zq9vT4mK2xW8@pypi.example.org/simple\n"),
        errors(1),
        ("requirements.txt",),
    ),
    Case("ignored a file", t("iris/.gitopsmlignore", "*.md\n"), NOTHING),
    Case(
        "took another Python",
        p("image.python_version", "3.13"),
        f"This change restarts painter {IN_BOTH} with downtime; restarts iris {IN_BOTH} without downtime.",
    ),
    Case(
        "took another base image",
        p("image.base", f"python:3.12-slim@{OTHER_DIGEST}"),
        f"This change restarts painter {IN_BOTH} with downtime; restarts iris {IN_BOTH} without downtime.",
    ),
    Case("moved the API to another folder", moves_folder, NOTHING, ("2 releases",)),
    Case("moved the project to another folder", moves_project, NOTHING),
    Case(
        "started more processes in a replica",
        s("iris", "predictor.processes_per_replica", 2),
        rolls("iris"),
    ),
    Case("set the level of the log", s("iris", "predictor.log_level", "debug"), rolls("iris")),
    # -- ready-made containers -------------------------------------------------------------------
    Case(
        "named another digest",
        s("forest", "container.image", f"registry.example.org/forest@{OTHER_DIGEST}"),
        rolls("forest"),
        ("another ready-made image",),
    ),
    Case(
        "named a tag of digits only",
        s("forest", "container.image", "registry.example.org/forest:6800000"),
        rolls("forest"),
        ("6800000",),
        ("6.8e",),
    ),
    Case(
        "named no tag",
        s("forest", "container.image", "registry.example.org/forest"),
        rolls("forest"),
    ),
    Case(
        "changed the port",
        s("forest", "container.port", 9000),
        rolls("forest"),
        ("container.port",),
    ),
    Case(
        "wrote global, as in a Helm chart",
        s("forest", "global", {"image": "x"}),
        errors(1),
        ("global",),
    ),
    # -- compute ---------------------------------------------------------------------------------
    Case(
        "asked for more memory",
        s("iris", "compute.mem", "2Gi"),
        rolls("iris"),
        ('- compute.mem: "1Gi"',),
    ),
    Case(
        "wrote the same CPU in another unit",
        s("iris", "compute.cpu", "0.5"),
        NOTHING,
        ("2 releases of which nothing changes in the cluster",),
    ),
    Case(
        "asked for less CPU in staging",
        s("iris", "environments.staging", {"compute": {"cpu": "100m"}}),
        rolls("iris", "in staging"),
    ),
    Case(
        "put an API on a GPU with a spare",
        both(s("iris", "compute.gpu", 1), s("iris", "compute.gpu_class", "l4")),
        rolls("iris"),
        ("5 of 8 l4", "quota is 8"),
    ),
    Case(
        "put an API on a GPU without a spare",
        both(s("forest", "compute.gpu", 1), s("forest", "compute.gpu_class", "t4")),
        stops("forest"),
        ("no spare accelerator", "4 of 4 t4"),
    ),
    Case(
        "asked for a class that is not there",
        both(s("iris", "compute.gpu", 1), s("iris", "compute.gpu_class", "h100")),
        errors(1),
        ("h100",),
    ),
    Case(
        "let a GPU API surge without a spare GPU",
        s("painter", "update_strategy", {"max_surge": 1, "max_unavailable": 0}),
        errors(1),
        ("max_surge",),
    ),
    Case(
        "changed the predictor on the only GPU",
        t("painter/predictor.py", PREDICTOR + "\n# Better.\n"),
        stops("painter"),
        ("stops before it starts", "1 of 4 t4"),
    ),
    Case(
        "gave the GPU API a second replica",
        both(
            s("painter", "autoscaling.min_replicas", 2), s("painter", "autoscaling.max_replicas", 2)
        ),
        calm("painter"),
    ),
    Case(
        "asked for more GPUs than there are",
        both(
            s("painter", "autoscaling.max_replicas", 6), s("painter", "predictor.config", {"a": 1})
        ),
        stops("painter"),
        ("6 of 4 t4", "quota is 4"),
    ),
    Case("moved an API to spot nodes", s("iris", "compute.spot", True), rolls("iris")),
    # -- updates ---------------------------------------------------------------------------------
    Case(
        "chose to stop before starting", s("iris", "update_strategy.type", "Recreate"), calm("iris")
    ),
    Case(
        "chose it together with a new configuration",
        both(
            s("iris", "update_strategy.type", "Recreate"),
            s("iris", "predictor.config.threshold", 0.9),
        ),
        stops("iris"),
        ("update_strategy.type is Recreate",),
    ),
    Case(
        "let every replica stop at once",
        both(
            s("forest", "update_strategy", {"max_unavailable": 1, "max_surge": 0}),
            s("forest", "container.env", {"A": "b"}),
        ),
        stops("forest"),
        ("update_strategy",),
    ),
    Case("gave more time to start", s("iris", "probes.startup", "20m"), rolls("iris")),
    # -- the way to the API ----------------------------------------------------------------------
    Case(
        "moved the endpoint",
        s("iris", "networking.endpoint", "/flowers"),
        calm("iris"),
        ("HTTPRoute/iris", "high risk", "endpoint-changed"),
    ),
    Case(
        "took the endpoint of another API",
        s("iris", "networking.endpoint", "/forest"),
        errors(1),
        ("forest",),
    ),
    Case(
        "hid the API from the gateway",
        s("iris", "networking.visibility", "cluster"),
        calm("iris"),
        ("- HTTPRoute/iris",),
    ),
    Case(
        "named a host of their own",
        s("iris", "networking.hosts", ["iris.example.org"]),
        calm("iris"),
    ),
    Case(
        "named a host of somebody else",
        s("iris", "networking.hosts", ["bank.example.com"]),
        errors(1),
        ("bank.example.com",),
    ),
    Case(
        "moved all APIs to another host",
        p("clusters.main.gateway.hosts", ["api.example.org"]),
        f"This change updates forest, iris and painter {IN_BOTH} without a restart.",
    ),
    # -- labels and secrets ----------------------------------------------------------------------
    Case("labelled the objects", s("iris", "labels", {"team": "flowers"}), calm("iris")),
    Case("labelled the pods", s("iris", "pod_labels", {"team": "flowers"}), rolls("iris")),
    Case(
        "read a secret",
        s("iris", "secrets", [{"env": "KEY", "name": "iris", "key": "key"}]),
        rolls("iris"),
        ("secrets",),
    ),
    Case(
        "wrote a hook of Helm as an annotation",
        s("iris", "annotations", {"helm.sh/hook": "pre-install"}),
        errors(1),
        ("helm.sh",),
    ),
    # -- releases come and go --------------------------------------------------------------------
    Case(
        "added an API",
        lambda source: source.adds("tulip", "iris"),
        f"This change adds tulip {IN_BOTH}.",
        ("starts",),
    ),
    Case(
        "removed an API",
        lambda source: source.removes("iris"),
        gone("iris") + ".",
        ("--prune",),
    ),
    Case(
        "removed an API, and the protection that would keep it",
        both(
            lambda source: source.removes("iris"),
            p("environments.production.protected", False),
        ),
        f"This change removes iris {IN_BOTH}.",
        ("stops",),
    ),
    Case(
        "renamed an API",
        renames,
        f"{gone('iris')}; adds lily {IN_BOTH}.",
    ),
    Case(
        "wrote a manifest that is too large to be read",
        t("iris/api.yaml", bytes(17 << 20)),
        errors(1),
        ("at most 1,048,576",),
    ),
    Case("gave a name that is taken", takes_a_name, errors(1), ("iris",)),
    Case(
        "removed all APIs but one",
        both(lambda source: source.removes("iris"), lambda source: source.removes("painter")),
        gone("iris and painter") + ".",
    ),
    Case(
        "added an environment",
        p("environments.test", {"cluster": "main", "namespace": "ml-test"}),
        "This change adds forest, iris and painter in test.",
    ),
    Case(
        "removed an environment",
        p("environments.staging", None),
        "This change removes forest, iris and painter in staging.",
    ),
    Case(
        "moved an environment to another namespace",
        p("environments.staging.namespace", "ml-next"),
        "This change moves forest, iris and painter in staging to another place, with downtime.",
    ),
    Case("protected staging", p("environments.staging.protected", True), NOTHING),
    Case(
        "changed overrides of an environment",
        p("environments.staging.overrides", {"compute": {"cpu": "250m"}}),
        "This change restarts painter in staging with downtime; restarts forest in staging without downtime.",
    ),
    # -- documents that are wrong ----------------------------------------------------------------
    Case(
        "wrote a key with a typo",
        s("iris", "autoscaling.max_replica", 9),
        errors(1),
        ("max_replicas",),
    ),
    Case(
        "wrote YAML that cannot be read",
        t("iris/api.yaml", "- name: [\n"),
        errors(1),
        ("iris/api.yaml",),
    ),
    Case(
        "wrote two errors in two files",
        both(s("iris", "compute.cpu", "lots"), s("forest", "container.port", 99999)),
        errors(2),
        ("iris/api.yaml", "forest/api.yaml"),
    ),
    Case(
        "named an environment that is not there",
        s("iris", "environments.prod", {"compute": {"cpu": "1"}}),
        errors(1),
        ("prod",),
    ),
    Case(
        "broke the project file",
        p("environments.staging.cluster", "nowhere"),
        errors(1),
        ("nowhere",),
    ),
    Case("emptied a manifest", t("iris/api.yaml", ""), errors(1), ("iris/api.yaml",)),
    Case(
        "changed the kind to one that runs nothing here",
        s("iris", "kind", "TaskAPI"),
        errors(4),
        ("TaskAPI",),
    ),
    Case(
        "used a spelling of Cortex",
        s("iris", "autoscaling.target_replica_concurrency", 4),
        calm("iris"),
        ("target_in_flight",),
    ),
)
