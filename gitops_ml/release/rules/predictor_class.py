"""Rules about the source of a predictor, read as a syntax tree: nothing of it is executed.

They are those by which the runtime finds the class and calls it (`predictor_base/predictor/loader.py`). What only a
running module knows (a name that is imported, made by a call, or inherited from elsewhere) breaks no rule.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_ml.documents.findings import suggestion

CLASS_NAMES = ("PythonPredictor", "TensorFlowPredictor", "ONNXPredictor", "Predictor", "Handler")
"""Names of classes that the runtime finds without ``class_name``."""
HANDLERS = ("predict", *(f"handle_{verb}" for verb in ("get", "post", "put", "patch", "delete")))
OTHER_METHODS = (
    "explain",
    "predict_batch",
    "generate",
    "chat_completions",
    "completions",
    "embeddings",
    "feedback",
)
REQUEST_ARGUMENTS = ("payload", "query_params", "headers", "request_id", "batch_id")
ALWAYS_OFFERED = ("config", "metrics_client", "job_spec")
CLIENT_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "python": ("python_client", "model_client"),
    "tensorflow": ("tensorflow_client", "model_client"),
    "onnx": ("onnx_client", "model_client"),
}
_NOT_OFFERED: Mapping[str, str] = dict.fromkeys(
    ("proto_module_pb2", "module_proto_pb2"),
    ": the runtime serves no gRPC service of its own protobuf; remove it and write `predict(self, payload)`",
)
"""Arguments of Cortex that no predictor gets, and what to write instead."""
_NEWER_SYNTAX = re.compile(
    r"^\s*(?:async\s+)?(?:def|class)\s+\w+\s*\[|^\s*type\s+\w+|\b[fFtTrR]{1,2}[\"']|^\s*except\b"
)
"""Lines that a later Python may read although this one does not."""
_MAKES_NAMES = re.compile(rb"\b(?:exec|globals|type)\s*\(")


@dataclass(frozen=True, slots=True)
class SourceFinding:
    """What is wrong at a place of the source, or with the whole of it at line 0."""

    line: int
    column: int
    message: str
    field: str = "path"
    """The field of the predictor that decides it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A top-level module that the import of a source needs, and its first place."""

    module: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a source says of a predictor."""

    findings: tuple[SourceFinding, ...]
    imports: tuple[Imported, ...] = ()

    @classmethod
    def of_facts(cls, findings: Iterable[Any], imports: Iterable[Any]) -> Judgement:
        """The judgement that `dataclasses.astuple` made these of."""
        found = tuple(SourceFinding(*each) for each in findings)
        return cls(found, tuple(Imported(*each) for each in imports))


def judge_source(
    source: bytes, *, class_name: str | None, kind: str, python_version: str | None
) -> Judgement:
    """Why the runtime would find no class in a source, or could not construct or call it.

    ``kind`` is the predictor's type. Nothing is found in what only a Python later than this one reads.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as failure:
        numbers = re.findall(r"\d+", python_version or "")[:2]
        is_later = tuple(map(int, numbers)) > sys.version_info[:2]
        if is_later and _NEWER_SYNTAX.search((failure.text or "").rstrip()):
            return Judgement(())
        place = (failure.lineno or 0, failure.offset or 0)
        return Judgement((SourceFinding(*place, f"this is not Python: {failure.msg}"),))
    except (ValueError, RecursionError, MemoryError) as failure:
        reason = str(failure) or "it is nested too deeply"
        return Judgement((SourceFinding(0, 0, f"this cannot be read as Python: {reason}"),))
    module = _Module.of(tree, may_make_names=_MAKES_NAMES.search(source) is not None)
    findings = tuple(_class_findings(module, class_name=class_name, kind=kind))
    return Judgement(findings, tuple(_imported(tree)))


def _class_findings(
    module: _Module, *, class_name: str | None, kind: str
) -> Iterator[SourceFinding]:
    if class_name is not None:
        yield from _named(module, class_name)
        chosen = module.classes.get(class_name)
    else:
        chosen, wrong = _found(module)
        yield from wrong
    if chosen is not None:
        yield from _Class(chosen, module).findings(kind)


def _imported(tree: ast.Module) -> Iterator[Imported]:
    found: set[str] = set()
    for node in _statements(tree.body, guarded=False):
        names: Iterable[str] = ()
        if isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = (node.module,)
        for module in (name.partition(".")[0] for name in names):
            if module not in found:
                yield Imported(module, *_place(node))
            found.add(module)


def _place(node: ast.stmt | ast.expr | ast.arg) -> tuple[int, int]:
    return node.lineno, node.col_offset + 1


def _statements(body: Iterable[ast.stmt], *, guarded: bool = True) -> Iterator[ast.stmt]:
    """The statements of a module; with ``guarded`` also those of `if` and `try`, which may not run."""
    for node in body:
        yield node
        if isinstance(node, ast.With):
            yield from _statements(node.body, guarded=guarded)
        elif guarded and isinstance(node, ast.If | ast.Try | ast.For | ast.While):
            handlers = [each.body for each in getattr(node, "handlers", ())]
            final = getattr(node, "finalbody", [])
            for inner in (node.body, node.orelse, final, *handlers):
                yield from _statements(inner)


@dataclass(slots=True)
class _Module:
    """The names of a module, as far as its source shows them."""

    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)
    """Names out of other modules, which may be classes."""
    others: set[str] = field(default_factory=set)
    """Names that are bound under a condition, or to a value."""
    is_open: bool = False
    """Whether it may have names that its source does not show."""

    @classmethod
    def of(cls, tree: ast.Module, *, may_make_names: bool) -> _Module:
        module = cls()
        certain = {id(node) for node in _statements(tree.body, guarded=False)}
        for node in _statements(tree.body):
            module._add(node, is_certain=id(node) in certain)
        if may_make_names:
            module.is_open |= any(_makes_names(node) for node in ast.walk(tree))
        return module

    def _add(self, node: ast.stmt, *, is_certain: bool) -> None:
        if isinstance(node, ast.ClassDef) and is_certain:
            self.classes[node.name] = node
        elif isinstance(node, ast.ImportFrom):
            names = set(_bound(node))
            self.is_open |= "*" in names
            (self.imported if is_certain else self.others).update(names)
        elif isinstance(node, ast.ClassDef):
            self.is_open = True
        elif not isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            self.others |= set(_bound(node))

    def well_known(self) -> list[str] | None:
        """Names that the runtime prefers; `None` where it is unclear which of them are classes."""
        if self.others & {*CLASS_NAMES}:
            return None
        return [name for name in CLASS_NAMES if name in self.classes or name in self.imported]


def _makes_names(node: ast.AST) -> bool:
    """Whether it is a call that may make classes and names of a module."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    name = node.func.id
    return name in {"exec", "globals"} or (name == "type" and len(node.args) > 1)


def _named(module: _Module, name: str) -> Iterator[SourceFinding]:
    if name in {*module.classes, *module.imported, *module.others} or module.is_open:
        return
    known = suggestion(name, module.classes) if module.classes else "; it has no class"
    yield SourceFinding(0, 0, f"the source has no class {name!r}{known}", "class_name")


def _found(module: _Module) -> tuple[ast.ClassDef | None, tuple[SourceFinding, ...]]:
    """The class without a name in the manifest, or why there is none; neither where that is unclear."""
    well_known = module.well_known()
    if module.is_open or well_known is None:
        return None, ()
    answers = {name: _Class(each, module).can_predict() for name, each in module.classes.items()}
    candidates = well_known or [name for name, can in answers.items() if can]
    if not well_known and None in answers.values():
        return None, ()
    if len(candidates) == 1:
        return module.classes.get(candidates[0]), ()
    have = f"; its classes: {', '.join(module.classes)}" if module.classes else ""
    what = f"no class with a method predict{have}"
    if candidates:
        what = f"several classes that can predict ({', '.join(candidates)})"
    message = f"the source has {what}; call one PythonPredictor, or name it in class_name"
    return None, (SourceFinding(0, 0, message),)


@dataclass(frozen=True, slots=True)
class _Class:
    node: ast.ClassDef
    module: _Module

    @property
    def name(self) -> str:
        return self.node.name

    def findings(self, kind: str) -> Iterator[SourceFinding]:
        if self.node.decorator_list or self.node.keywords:
            return
        yield from self._constructor(kind)
        for name in (*HANDLERS, *OTHER_METHODS):
            also = ("payloads",) if name in OTHER_METHODS else ()
            yield from self._unknown(name, (*REQUEST_ARGUMENTS, *also))
        yield from self._unknown("post_predict", (*REQUEST_ARGUMENTS, "response"))

    def can_predict(self) -> bool | None:
        """Whether it has a method for requests; `None` where a base or the class itself decides that."""
        members, is_whole = self.members()
        if members.keys() & {*HANDLERS, *OTHER_METHODS}:
            return True
        return False if is_whole and "__getattr__" not in members else None

    def members(self, below: tuple[str, ...] = ()) -> tuple[dict[str, ast.stmt], bool]:
        """What the class and its bases in this source define, and whether that is all."""
        found = {name: each for each in _statements(self.node.body) for name in _bound(each)}
        is_whole = not (self.node.decorator_list or self.node.keywords)
        for base in self.node.bases:
            name = base.id if isinstance(base, ast.Name) else ""
            inner = self.module.classes.get(name)
            if name == "object":
                continue
            if not is_whole or inner is None or inner is self.node or name in below:
                # What follows a base that is not known may be replaced by it.
                return found, False
            more, is_whole = _Class(inner, self.module).members((*below, name))
            found = {**more, **found}
        return found, is_whole

    def _constructor(self, kind: str) -> Iterator[SourceFinding]:
        members, is_whole = self.members()
        known = (*ALWAYS_OFFERED, *CLIENT_ARGUMENTS[kind])
        if "__new__" in members or "__signature__" in members:
            return
        wrong = tuple(self._unknown("__init__", known))
        yield from wrong
        made = members.get("__init__")
        if kind == "python" or wrong or not (is_whole or made):
            return
        is_plain = made is None or (isinstance(made, ast.FunctionDef) and not made.decorator_list)
        named = {each.arg for each in _arguments(made)} if is_plain and made else set()
        if is_plain and not named & {*CLIENT_ARGUMENTS[kind]}:
            message = f"{self.name}.__init__ must take {known[-2]}, because of the type {kind!r}"
            yield SourceFinding(*_place(made or self.node), message, "type")

    def _unknown(self, method: str, known: tuple[str, ...]) -> Iterator[SourceFinding]:
        function = self.members()[0].get(method)
        for argument in _arguments(function):
            if argument.arg not in known:
                message = (
                    f"{self.name}.{method}: unknown argument {argument.arg!r}"
                    f"{_NOT_OFFERED.get(argument.arg) or suggestion(argument.arg, known)}"
                )
                yield SourceFinding(*_place(argument), message)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a class body binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (each.asname or each.name for each in statement.names)
    else:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _arguments(function: ast.stmt | None) -> list[ast.arg]:
    """The arguments of a method but its first; none of one that a decorator may change."""
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.decorator_list:
        return []
    of = function.args
    return [*(*of.posonlyargs, *of.args)[1:], *of.kwonlyargs]
