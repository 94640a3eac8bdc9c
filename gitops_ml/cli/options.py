"""The options that several commands share, each written once, and the names that a shell completes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gitops_ml.errors import UsageError
from gitops_ml.system.project_files import LARGEST_DATA, read_named

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from gitops_ml.delivery.change import ChangeOptions
    from gitops_ml.delivery.releases import Selection
    from gitops_ml.project.project import Project
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


Command = Callable[..., Any]


def _completing(
    names_in: Callable[[Workspace], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Complete names of the project at hand; a shell shows no errors while a person types."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from gitops_ml.errors import GitopsMlError
        from gitops_ml.workspace.workspace import open_project

        file = context.params.get("project_file")
        given = context.params.get(parameter.name or "") or ()
        try:
            found = open_project((), project_file=Path(file) if file else None, may_be_empty=True)
        except (GitopsMlError, OSError):
            return []
        names = sorted({*names_in(found)}.difference(given))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    return complete


complete_environments = _completing(lambda found: found.project.environments)
complete_apis = _completing(lambda found: (each.name for each in found.manifests))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectChoice:
    """The project, environments and APIs that the options of a command choose."""

    file: Path | None = None
    paths: tuple[Path, ...] = ()
    environments: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()

    def open(self) -> tuple[Workspace, Clients]:
        """The project without its manifests, for commands that need the GitOps repository alone."""
        from gitops_ml.workspace.workspace import open_settings

        return _with_clients(open_settings(self.file, environments=self.environments))

    def open_with_manifests(
        self, *, offline: bool = False, may_be_empty: bool = False, spares_protected: bool = False
    ) -> tuple[Workspace, Clients]:
        from gitops_ml.cli import report
        from gitops_ml.workspace.workspace import open_project, unserved_problems

        workspace = open_project(
            self.paths,
            project_file=self.file,
            environments=self.environments,
            apis=self.apis,
            may_be_empty=may_be_empty,
            spares_protected=spares_protected,
        )
        if workspace.releases:
            report.problems(unserved_problems(workspace))
        return _with_clients(workspace, offline=offline)

    def open_with_problems(self) -> tuple[Workspace, Clients]:
        """The project as it is, with wrong documents or none."""
        from gitops_ml.workspace.manifest_files import find
        from gitops_ml.workspace.workspace import read_found

        found = find(self.paths, project_file=self.file)
        workspace = read_found(
            found, environments=self.environments, apis=self.apis, covers_project=False
        )
        return _with_clients(workspace)

    def report_environments(self, workspace: Workspace, doing: str) -> None:
        """Say which environments a command chose where none was named, and which it left out."""
        from gitops_ml.cli import report

        known, chosen = workspace.project.environments, workspace.environments
        if self.environments or len(known) < 2:
            return
        text = f"no --environment was given: {doing} {', '.join(chosen)}"
        left = ", ".join(name for name in known if name not in chosen)
        report.say(f"{text}; protected, and to be named: {left}" if left else text)


def _with_clients(workspace: Workspace, *, offline: bool = False) -> tuple[Workspace, Clients]:
    return workspace, clients_of(workspace.project, workspace.root, offline=offline)


def clients_of(project: Project, root: Path, *, offline: bool = False) -> Clients:
    """The clients of a project, whose progress and warnings are shown."""
    from gitops_ml.cli import report
    from gitops_ml.workspace.clients import Clients

    return Clients(
        project=project,
        root=root,
        offline=offline,
        progress=report.progress,
        warn=lambda text: report.warnings([text]),
    )


def joined(name: str, *parts: str, make: Any) -> Callable[[Command], Command]:
    """Pass those of ``parts`` that a command has as one argument ``name``, which ``make`` makes of them.

    By default, the parts are the fields of the dataclass ``make``.
    """
    parts = parts or tuple(each.name for each in fields(make))

    def decorate(command: Command) -> Command:
        @wraps(command)
        def call(**arguments: Any) -> Any:
            given = {part: arguments.pop(part) for part in parts if part in arguments}
            return command(**arguments, **{name: make(**given)})

        return call

    return decorate


def output_choice(*choices: str, help: str) -> Callable[[Command], Command]:
    """``--output`` with these choices, which `main` reads as well when it reports an error."""
    return click.option(
        "-o",
        "--output",
        type=_Choice(choices),
        default=choices[0],
        show_default=True,
        envvar="GITOPS_ML_OUTPUT",
        help=help,
        callback=_remember,
        is_eager=True,
        cls=_Output,
    )


class _Choice(click.Choice[str]):
    """A choice that also knows Cortex's word for text."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        return super().convert("text" if value == "pretty" else value, param, ctx)


class _Output(click.Option):
    """``GITOPS_ML_OUTPUT=github`` holds for a whole CI job; commands without annotations print text."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        value = super().resolve_envvar_value(ctx)
        assert isinstance(self.type, click.Choice)
        return None if value == "github" and value not in self.type.choices else value


def _remember(context: click.Context, _: click.Parameter, value: str) -> str:
    context.ensure_object(dict)["output"] = value
    return value


output_option = output_choice("text", "json", help="Text for people, or the same facts as JSON.")


def project_option(command: Command) -> Command:
    """``--project``; the command gets a `ProjectChoice` as ``project``."""
    parts = ("project_file", "paths", "environments", "environment", "apis")
    return click.option(
        "--project",
        "project_file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="GITOPS_ML_PROJECT",
        help="The project file. By default, gitops-ml.yaml in the folder of the first PATH or above.",
    )(joined("project", *parts, make=_project_choice)(command))


def _project_choice(
    project_file: Path | None, environment: str | None = None, **others: Any
) -> ProjectChoice:
    if environment is not None:
        others["environments"] = (environment,)
    return ProjectChoice(file=project_file, **others)


_environment_option = partial(
    click.option,
    "-e",
    "--environment",
    metavar="NAME",
    envvar="GITOPS_ML_ENVIRONMENT",
    shell_complete=complete_environments,
)
environment_option = _environment_option(
    "environments", multiple=True, help="An environment of the project file. Can be repeated."
)
first_environment_option = _environment_option(
    help="An environment of the project file. By default, the first."
)
one_environment_option = _environment_option(
    required=True, help="An environment of the project file."
)

api_option = click.option(
    "-a",
    "--api",
    "apis",
    multiple=True,
    metavar="NAME",
    envvar="GITOPS_ML_API",
    help="Only this API. Can be repeated.",
    shell_complete=complete_apis,
)

api_argument = click.argument("api", shell_complete=complete_apis)

force_option = click.option(
    "-f",
    "--force",
    is_flag=True,
    expose_value=False,
    help="As in Cortex; not needed, because a change never waits for one in progress.",
)

dry_run_option = click.option(
    "-n",
    "--dry-run",
    is_flag=True,
    envvar="GITOPS_ML_DRY_RUN",
    help="Do everything except the last step.",
)

offline_option = click.option(
    "--offline",
    is_flag=True,
    envvar="GITOPS_ML_OFFLINE",
    help="Do not contact the registry and do not build; use the digests that are known.",
)

pull_request_option = click.option(
    "--pull-request/--no-pull-request",
    "pull_request",
    default=None,
    envvar="GITOPS_ML_PULL_REQUEST",
    help="Open a pull request, or push. By default, `delivery` of the environments decides.",
)

frozen_option = click.option(
    "--frozen",
    is_flag=True,
    envvar="GITOPS_ML_FROZEN",
    help="Resolve no requirements; fail if a lock is missing or out of date. For CI.",
)

image_argument = click.argument("image")

platform_option = click.option(
    "--platform", metavar="OS/ARCH", help="The platform of an image index. By default, the first."
)

paths_argument = click.argument(
    "paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]..."
)


def _all_of(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator in place of several; the first is the outermost."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


selection = _all_of(paths_argument, project_option, environment_option, api_option)
"""``[PATH]… --project --environment --api``, as one argument ``project``."""


message_option = click.option(
    "-m",
    "--message",
    help="The subject of the commit and title of the pull request. By default, it names the releases.",
)


wait_options = _all_of(
    click.option(
        "--wait",
        is_flag=True,
        envvar="GITOPS_ML_WAIT",
        help="Wait until the releases are live, or gone, or cannot become so.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0),
        default=1800,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait.",
    ),
)
"""``--wait --timeout``."""


def _change_options(**options: Any) -> ChangeOptions:
    from gitops_ml.delivery.change import ChangeOptions

    return ChangeOptions(**options)


change_options = _all_of(
    message_option,
    pull_request_option,
    wait_options,
    dry_run_option,
    joined(
        "options", *("message", "pull_request", "wait", "timeout", "dry_run"), make=_change_options
    ),
)
"""``--message --pull-request --wait --timeout --dry-run``, as one argument ``options``."""


def _selection(labels: Sequence[str], **others: Any) -> Selection:
    from gitops_ml.delivery.releases import Selection

    return Selection(labels=_pairs(labels), **others)


def _pairs(labels: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in labels:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--label")
        found[key] = value
    return found


chosen_apis = _all_of(
    click.argument("apis", nargs=-1, metavar="[API]...", shell_complete=complete_apis),
    click.option("--all", "every", is_flag=True, help="Every API of the project."),
    click.option("--team", "teams", multiple=True, metavar="NAME", help="Only APIs of this team."),
    click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        help="Only APIs with this label. Can be repeated; all of them must match.",
    ),
    joined("selection", "apis", "every", "teams", "labels", make=_selection),
)
"""``[API]… --all --team --label``, as one argument ``selection``; above `project_option`."""


_EVERY = 2.0

watch_option = click.option(
    "-w", "--watch", is_flag=True, help="Refresh every two seconds until interrupted."
)


def looks(watch: bool, *, output: str) -> Iterator[None]:
    """One look, or one every two seconds on an empty screen; JSON has no end then."""
    if watch and output == "json":
        raise click.UsageError(
            "--watch needs --output text; with --output json, call the command repeatedly"
        )
    yield
    while watch:
        time.sleep(_EVERY)
        click.clear()  # on terminals only
        yield


class NamedBytes(NamedTuple):
    """What a person gave as FILE or -."""

    name: str
    content: bytes


class FileOrInput(click.ParamType):  # type: ignore[type-arg]  # older clicks take no arguments
    """A regular file of limited size, or - for the standard input."""

    name = "file"

    def __init__(self, limit: int = LARGEST_DATA) -> None:
        self._limit = limit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, NamedBytes):
            return value
        if value != "-":
            if str(value).lstrip()[:1] in ("{", "[") and not Path(value).exists():
                raise UsageError(
                    f"{value!r:.40} is no file: send it by the standard input, with - in its place"
                )
            return NamedBytes(str(value), read_named(Path(value), limit=self._limit))
        content = sys.stdin.buffer.read(self._limit + 1)
        if len(content) > self._limit:
            raise UsageError(f"the standard input has more than {self._limit:,} bytes")
        return NamedBytes("the standard input", content)
