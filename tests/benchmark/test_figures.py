"""Figures of samples, and the advice that follows from steps."""

from __future__ import annotations

import pytest

from gitops_ml.benchmark.figures import Latency, Load, Sample, Step, advice, chart, step


def steps(*throughputs: float, errors: int = 0) -> list[Step]:
    latency = Latency(p50=1, p90=2, p95=3, p99=4, max=5)
    return [
        Step(
            load=Load("closed", 2**index),
            requests=100,
            throughput=throughput,
            errors={"503": errors} if errors else {},
            latency=latency,
            is_client_busy=False,
        )
        for index, throughput in enumerate(throughputs)
    ]


def test_percentiles_are_those_of_successes_and_throughput_that_of_the_time() -> None:
    samples = [Sample(n / 100, n / 1000, None) for n in range(1, 101)]
    samples += [Sample(0.5, 9, "503"), Sample(0.6, 9, "timeout"), Sample(1.5, 0.05, None)]
    found = step(Load("closed", 4), samples, seconds=1, busy=0.9)
    assert (found.requests, found.throughput) == (103, 100)
    assert found.errors == {"503": 1, "timeout": 1}
    assert found.error_rate == pytest.approx(2 / 103)
    assert found.latency == Latency(p50=50, p90=90, p95=95, p99=99, max=100)
    assert found.is_client_busy


def test_without_a_success_there_is_no_latency() -> None:
    found = step(Load("open", 5), [Sample(0.1, 0.1, "connection")], seconds=1, busy=0)
    assert (found.latency, found.error_rate, found.throughput) == (None, 1, 0)


@pytest.mark.parametrize(
    ("throughputs", "replicas", "target"),
    [
        ((100, 190, 300, 310, 305), 1, 4),
        ((100, 95, 98), 1, 1),
        ((100, 190, 300, 310, 305), 3, 1),
        ((100, 200, 400, 800), 1, None),
        ((100,), 1, None),
    ],
)
def test_the_advice_is_where_the_throughput_stops_to_grow(
    throughputs: tuple[float, ...], replicas: int, target: int | None
) -> None:
    found = advice(steps(*throughputs), replicas=replicas)
    assert found is not None
    assert found.target_in_flight == target


def test_steps_with_errors_give_no_advice() -> None:
    found = advice([*steps(100, 200, 210), *steps(9000, errors=50)], replicas=1)
    assert found is not None
    assert found.target_in_flight == 2


def test_an_open_loop_gives_none() -> None:
    open_loop = step(Load("open", 5), [Sample(0.1, 0.1, None)], seconds=1, busy=0)
    assert advice([open_loop], replicas=1) is None


def test_the_picture_has_every_load_and_is_well_formed() -> None:
    from xml.etree import ElementTree

    failed = step(Load("closed", 8), [Sample(0.1, 0.1, "503")], seconds=1, busy=0)
    document = ElementTree.fromstring(chart([*steps(10, 20, 15), failed], title="<iris> & more"))
    words = [each.text for each in document.iter("{http://www.w3.org/2000/svg}text")]
    assert {"1", "2", "4", "8", "<iris> & more", "answers per second", "p99, ms"} <= {*words}
    lines = [*document.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(each.attrib["points"].split()) for each in lines] == [4, 3, 3]
    assert "nan" not in ElementTree.tostring(document, encoding="unicode").lower()
