"""JUnit XML: a test case for each release, and one for each result."""

from __future__ import annotations

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
        "skipped": "0",
        "time": "0",
    }
    root = ElementTree.Element("testsuites", {"name": "gitops-ml check", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": review.project, **counts})
    for name in passing:
        _case(suite, name, "keeps every rule of severity error")
    for result in results:
        _add(suite, result)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _case(suite: ElementTree.Element, release: str, name: str) -> ElementTree.Element:
    classname = release.replace(".", "_").replace("/", ".") or "documents"
    return ElementTree.SubElement(suite, "testcase", classname=classname, name=name, time="0")


def _add(suite: ElementTree.Element, result: Result) -> None:
    case = _case(suite, result.release, f"{result.rule}: {result.path}".rstrip(": "))
    case.set("file", result.file)
    case.set("line", str(result.line))
    text = f"{result.file}:{result.line}: {result.message}"
    if result.severity == "error":
        failure = ElementTree.SubElement(case, "failure", message=result.message, type=result.rule)
        failure.text = text
    else:
        ElementTree.SubElement(case, "system-out").text = f"{result.severity}: {text}"
