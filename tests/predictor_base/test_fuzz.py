"""Whatever is sent, the server answers with a status of its table, and lives."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor_base.errors import BadRequest
from predictor_base.http.error_replies import STATUS
from predictor_base.protocols.openinference import read_infer
from tests.support.predictor_server import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = '''
    from typing import TypedDict
    class Point(TypedDict):
        x: float
        tags: list[str]
    class Answer(TypedDict):
        total: float
    class PythonPredictor:
        def predict(self, payload: Point) -> Answer:
            """Add up."""
            return {"total": payload["x"] + len(payload["tags"])}
        def chat_completions(self, payload):
            yield str(payload["messages"])
        def explain(self, payload):
            return payload
'''
PATHS = (
    "/predict",
    "/invocations",
    "/v2/models/iris/infer",
    "/v2/models/iris/generate",
    "/v2/models/iris/generate_stream",
    "/v2/models/iris/explain",
    "/v1/models/iris:predict",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/feedback",
)
KNOWN = {200, 202, *STATUS.values()} - {500, 503, 504}
# a server is shared by all examples, and a busy machine is no error
BOUNDED = settings(
    max_examples=int(os.environ.get("GITOPS_ML_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("x") | JSON,
        "datatype": st.sampled_from(["FP32", "INT64", "BYTES", "BOOL", "BF16", "no"]) | JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
        "data": st.lists(st.floats() | st.integers() | st.text(), max_size=4) | JSON,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "content_type"]), JSON)
        | JSON,
    },
)
INFER = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=2) | JSON},
    optional={"outputs": st.lists(JSON, max_size=2) | JSON, "parameters": JSON, "id": JSON},
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("fuzz"), SOURCE, maxRequestBytes=100_000) as found:
        yield found


@given(
    path=st.sampled_from(PATHS),
    body=st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode()),
    length=st.none() | st.text("0123456789-", max_size=4),
)
@BOUNDED
def test_any_body_gets_a_known_answer(
    server: Server, path: str, body: bytes, length: str | None
) -> None:
    headers = {"content-type": "application/json"}
    if length is not None:
        headers["Inference-Header-Content-Length"] = length
    answer = server.client.post(path, content=body, headers=headers)
    assert answer.status_code in KNOWN, answer.text


@given(
    content_type=st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    query=st.text(max_size=20),
    body=st.binary(max_size=50),
)
@BOUNDED
def test_any_content_type_and_query_get_a_known_answer(
    server: Server, content_type: str, query: str, body: bytes
) -> None:
    headers = {"content-type": content_type.strip()}
    answer = server.client.post("/predict", content=body, headers=headers, params={"q": query})
    assert answer.status_code in KNOWN, answer.text


@given(document=INFER)
@settings(BOUNDED, max_examples=300)
def test_an_infer_request_is_read_or_refused(document: Any) -> None:
    try:
        request = read_infer(json.dumps(document).encode(), None, "r")
    except BadRequest:
        return
    assert request.id


@given(st.binary(max_size=300))
@BOUNDED
def test_any_bytes_on_a_connection_leave_the_server_alive(server: Server, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(data + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(60)
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass
    assert server.status("/livez") == 200


def test_the_document_is_true_of_the_server(server: Server) -> None:
    schemathesis: Any = pytest.importorskip("schemathesis")
    document = server.client.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=server.url)
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(BOUNDED, max_examples=25)
        def conforms(case: Any) -> None:
            case.call_and_validate()

        conforms()
        tried += 1
    assert tried == 6
