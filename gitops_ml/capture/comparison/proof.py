"""Prove that a package is what the session has: import it in a clean interpreter, and compare.

A difference is put right by value or by a statement that the text lacked; what cannot be is refused.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gitops_ml.capture.beside import own_of_session
from gitops_ml.capture.collected import Collected, Repairs
from gitops_ml.capture.comparison.clean_import import JOB
from gitops_ml.capture.comparison.portrait import Node, Surroundings, portrait
from gitops_ml.capture.comparison.portrait_differences import Difference, differences, repaired
from gitops_ml.capture.comparison.portrait_process import ANOTHER
from gitops_ml.capture.comparison.process_state import NOT_LOADED, STATES, Patches, named_in
from gitops_ml.capture.live_imports import Settings
from gitops_ml.capture.live_session import MAIN, Session
from gitops_ml.capture.live_source import collect
from gitops_ml.capture.of_machine import takes_order, variables_read
from gitops_ml.capture.packaged_class import fingerprint_of
from gitops_ml.capture.value_source import holds_state, is_of_environment, pass_it
from gitops_ml.errors import Unpackageable
from gitops_ml.packages.installed import is_of_python
from gitops_ml.runtime.runtime_package import CleanRun, PodEnvironment
from gitops_ml.system.memory import Memory
from gitops_ml.system.memory import key as memory_key
from gitops_ml.system.process import secrets_in

_ROUNDS = 6
_TIMES = 6
"""Imports of a package that takes the order of a set: one may have the order of the session by chance."""
_PROGRAM = "from gitops_ml.capture.comparison.clean_import import main"
_ELSEWHERE = (
    "is made of the file, the folder or the machine that it is on, and is something else in a package, which "
    "has the class in predictor.py and nothing above its folder: write the value, or a path below that folder"
)
_READS = re.compile(r"KeyError: '(\w+)'")


@dataclass(frozen=True, slots=True)
class Staged:
    """The files of a package that is not kept yet."""

    path: str
    files: Mapping[str, bytes]
    own: frozenset[str]
    """The user's own top-level modules among them."""


class CannotImport(Exception):
    """A clean interpreter cannot import a package."""

    def __init__(self, problem: str, staged: Staged) -> None:
        self.problem = problem
        self.staged = staged
        super().__init__(problem)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Where packages are imported, and what is known of earlier proofs."""

    pod: PodEnvironment = field(default_factory=PodEnvironment)
    memory: Memory | None = None
    modules: frozenset[str] = frozenset()
    """Top-level modules that the models of the class import."""

    def collect(
        self,
        root: Any,
        session: Session,
        *,
        title: str,
        stage: Callable[[Collected], Staged],
        also: frozenset[str] = frozenset(),
    ) -> Collected:
        """The module of ``root``, which is equal to the session.

        ``also`` are classes and functions that its models need; they are in the module, and equal as well.

        Raises:
            NoSource: the source of the class, or of something it needs, is not available.
            Unpackageable: it needs something that a file cannot hold; has all reasons.
            CannotImport: a clean interpreter cannot import it.
        """
        repairs = Repairs(needed=also, modules=self.modules)
        around = None
        for _ in range(_ROUNDS):
            collected = collect(
                root, namespace=session.namespace, source=session.source, title=title,
                repairs=repairs,
            )  # fmt: skip
            staged = stage(collected)
            around = around or surroundings(root.__module__, session, staged)
            place = replace(
                around,
                of_place=collected.of_place, of_shell=collected.of_shell,
                settled=frozenset(_set_in(session)) - repairs.modules,
            )  # fmt: skip
            roots = (root, *(session.namespace[name] for name in sorted(also)))
            found = tuple(each for one in roots for each in self.differences(one, place, staged))
            found, reasons = self._of_place(found, session, collected)
            reasons += self._of_environment(root.__name__, collected, reasons)
            if not found and not reasons:
                return collected
            more, left = repaired(found, repairs, session=session)
            is_wider = more.modules != repairs.modules
            if more is repairs or ((left or reasons) and not is_wider):
                break
            repairs = more
        differences = (reason(each, session.namespace) for each in left or found)
        raise Unpackageable(root.__name__, [*reasons, *differences])

    def differences(self, root: Any, place: Surroundings, staged: Staged) -> tuple[Difference, ...]:
        """Where the imported package differs from the session.

        Raises:
            CannotImport: a clean interpreter cannot import it.
        """
        here = portrait(root, replace(place, own=staged.own))
        settled = ",".join(sorted(place.settled))
        facts = (fingerprint_of(staged.files), json.dumps([node.fields for node in here]))
        key = memory_key("clean portrait", *facts, settled, self.pod.facts(), sys.version)
        known = self.memory.recall([key]).get(key) if self.memory else None
        if known is not None:
            return tuple(_difference(each) for each in json.loads(known))
        secrets = [*self.pod.secret_values(), *secrets_in(self.pod.environ)]
        for _ in range(_TIMES if _takes_order(staged) else 1):
            there = self._imported(root.__name__, place, staged)
            found = tuple(
                each.without_secrets(secrets)
                for each in differences(here, there)
                if each.there != repr(NOT_LOADED)
            )
            if found:
                break
        if self.memory:
            self.memory.keep({key: json.dumps([asdict(each) for each in found])})
        return found

    def _imported(self, name: str, place: Surroundings, staged: Staged) -> list[Node]:
        with tempfile.TemporaryDirectory(prefix="gitops-ml-package-") as temporary:
            folder, out = Path(temporary, "package"), Path(temporary, "portrait.json")
            for path, content in staged.files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
            job = {
                "path": staged.path, "name": name, "own": sorted(staged.own),
                "of_place": sorted(place.of_place), "out": str(out), "settled": sorted(place.settled),
                "process": place.process, "patched": place.patched,
                "needed": sorted(self.modules) if place.patched else [],
            }  # fmt: skip
            run = CleanRun(_PROGRAM, self.pod, {JOB: json.dumps(job)})
            if (problem := run.problem(folder)) is not None:
                problem = problem.replace(f"{folder}{os.sep}", "")
                raise CannotImport(problem + self._remedy(problem), staged)
            return [node_of(each) for each in json.loads(out.read_text())]

    def _remedy(self, problem: str) -> str:
        lacking = self.pod.lacking(_READS.findall(problem))
        return f"\n{_not_there(lacking)}" if lacking else ""

    def _of_place(
        self, found: tuple[Difference, ...], session: Session, collected: Collected
    ) -> tuple[tuple[Difference, ...], list[str]]:
        """The other differences, and why some values of the place cannot be what they are here."""
        places = {(("global", name),): name for name in collected.of_place}
        reasons = []
        for name in (places[each.path] for each in found if each.path in places):
            made = session.source.binding(name)[-1]
            if lacking := self.pod.lacking(re.findall(r"\w+", made.text)):
                reasons.append(f"{name} is another value in a replica: {_not_there(lacking)}")
            elif not is_of_environment(made, session.source):
                reasons.append(f"{name} {_ELSEWHERE}")
        return tuple(each for each in found if each.path not in places), reasons

    def _of_environment(self, name: str, collected: Collected, known: list[str]) -> list[str]:
        """Why what a method reads of the environment is not there in a replica."""
        lacking = self.pod.lacking(variables_read(collected.text))
        lacking = [each for each in lacking if not any(each in reason for reason in known)]
        return [f"{name} reads {each}: {_not_there([each])}" for each in lacking]


def _takes_order(staged: Staged) -> bool:
    texts = [content for path, content in staged.files.items() if path.endswith(".py")]
    return any(b"set(" in each for each in texts if each is not staged.files[staged.path]) or (
        takes_order(staged.files[staged.path].decode())
    )


def _not_there(variables: list[str]) -> str:
    names = ", ".join(variables)
    return (
        f"a replica has no {names} in its environment, though this session has: list it under `env` or "
        "`secrets` of the API"
    )


def reason(difference: Difference, namespace: Mapping[str, Any] = MappingProxyType({})) -> str:
    """A difference with what to do about it."""
    kind, name = difference.path[0] if difference.path else ("", "")
    if kind == "process":
        return f"{difference}: {STATES[name].remedy}"
    if ":" in name:
        return f"{difference}: this session changed it; do so by statements of their own in a cell"
    if kind == "global" and holds_state(namespace.get(name)):
        return f"the package {pass_it(name, namespace[name])}"
    if difference.there == ANOTHER:
        return (
            f"{difference}: create it in __init__, or put the values that you need into the config"
        )
    if kind == "through" or "." in name:
        return (
            f"{difference}: this session changed it, or its file changed after the import; write it in its "
            "file, and restart the session"
        )
    return f"{difference}: create it in one expression at the top level, or in __init__"


def surroundings(owner: str, session: Session, staged: Staged) -> Surroundings:
    """Where a class of the session lives, and what of the process can decide its answers."""
    own = own_of_session(session)
    staged_texts = (each for path, each in staged.files.items() if path.endswith(".py"))
    texts = [*own.values(), *(each.decode("utf-8", "replace") for each in staged_texts)]
    names = frozenset(name for text in texts for name in re.findall(r"\w+", text))
    tops = staged.own.union(name.partition(".")[0] for name in own)
    return Surroundings(
        owner,
        session.namespace if owner == MAIN else vars(sys.modules[owner]),
        folder=str(session.folder.resolve()),
        process=named_in(session.source.names | names),
        patched=Patches(session.namespace, session.source, tops).references(names),
    )


def _set_in(session: Session) -> set[str]:
    """The libraries in which the session set something."""
    settings = Settings(session.namespace, session.source)
    found = {name for each in session.source.statements for name in settings.of(each)}
    return {name for name in found - {MAIN, ""} if not is_of_python(name)}


def node_of(fields: list[Any]) -> Node:
    """A node that was written as JSON."""
    kind, text, edges, has_identity, home = fields
    pairs = [((label[0], label[1]), place) for label, place in edges]
    return Node(kind, text, pairs, has_identity, home)


def _difference(fields: dict[str, Any]) -> Difference:
    path = tuple((kind, name) for kind, name in fields.pop("path"))
    return Difference(path, **fields)
