"""JUnit XML: a test case for each release, and one for each result.

Readers differ in what they take. This is what all of them do: the schema `junit-10.xsd` of Jenkins' xUnit plugin, which
refuses attributes that it does not know, that of Maven Surefire, and GitLab, which shows one case of each name.
"""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

from gitops_ml.review.reports.placed_results import Result, results_of
from gitops_ml.review.review import Review


def junit(review: Review) -> str:
    """Errors are failures; warnings and notes are cases that pass, with their text as output."""
    results = results_of(review)
    failing = {each.release for each in results if each.severity == "error"}
    releases = sorted(f"{each.environment}/{each.api}" for each in review.releases)
    passing = [name for name in releases if name not in failing]
    failures = sum(each.severity == "error" for each in results)
    counts = {
        "tests": str(len(results) + len(passing)),
        "failures": str(failures),
        "errors": "0",
        "time": "0",
    }
    root = ElementTree.Element("testsuites", {"name": "gitops-ml check", **counts})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": review.project, **counts, "skipped": "0"}
    )
    for name in passing:
        _case(suite, _classname(name), "keeps every rule of severity error")
    known: Counter[tuple[str, str]] = Counter()
    for result in results:
        _add(suite, result, known)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _case(suite: ElementTree.Element, classname: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=classname, name=name, time="0")


def _classname(place: str) -> str:
    return place.replace(".", "_").replace("/", ".")


def _add(suite: ElementTree.Element, result: Result, known: Counter[tuple[str, str]]) -> None:
    classname = _classname(result.release or result.file)
    name = f"{result.rule}: {result.path}".rstrip(": ")
    known[classname, name] += 1
    count = known[classname, name]
    case = _case(suite, classname, f"{name} ({count})" if count > 1 else name)
    text = _harmless(f"{result.file}:{result.line}: {result.message}")
    if result.severity == "error":
        message = _harmless(result.message)
        ElementTree.SubElement(case, "failure", message=message, type=result.rule).text = text
    else:
        ElementTree.SubElement(case, "system-out").text = f"{result.severity}: {text}"


def _harmless(text: str) -> str:
    """Jenkins and GitLab attach the file that `[[ATTACHMENT|path]]` in an output names."""
    return text.replace("[[", "[ [")
