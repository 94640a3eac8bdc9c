"""The Open Inference Protocol and V1, by hand and with the clients that people use."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor_base.errors import BadRequest
from predictor_base.protocols.openinference import read_infer
from predictor_base.protocols.tensors import DATATYPES, tensors
from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = """
    import numpy as np
    class PythonPredictor:
        def predict(self, payload):
            if isinstance(payload, dict) and "instances" in payload:
                return [sum(row) for row in payload["instances"]]
            if isinstance(payload, dict) and "text_input" in payload:
                return payload["text_input"].upper()
            if not isinstance(payload, dict):
                return {"frame": payload.sum(axis=1)}
            return {**payload, "kinds": [type(each).__name__ for each in payload.values()]}
        def explain(self, payload):
            return {"explained": sorted(payload)}
        def feedback(self, payload):
            self.last = payload
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("v2"), SOURCE) as found:
        yield found


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def outputs(server: Server, *inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = server.predict({"inputs": inputs, **more}, "/v2/models/iris/infer")
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()["outputs"]}


def test_an_infer_request_is_a_dict_of_arrays(server: Server) -> None:
    found = outputs(
        server,
        tensor("x", "FP32", [2, 2], [[1, 2], [3, 4.5]]),
        tensor("n", "INT64", [3], [1, 2, 3]),
        tensor("t", "BYTES", [2], ["a", "é"]),
    )
    assert found == {
        "x": {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1.0, 2.0, 3.0, 4.5]},
        "n": {"name": "n", "datatype": "INT64", "shape": [3], "data": [1, 2, 3]},
        "t": {"name": "t", "datatype": "BYTES", "shape": [2], "data": ["a", "é"]},
        "kinds": {
            "name": "kinds",
            "datatype": "BYTES",
            "shape": [3],
            "data": ["ndarray", "ndarray", "list"],
        },
    }


def test_the_response_has_an_id_and_only_the_outputs_asked_for(server: Server) -> None:
    body = {"id": "7", "inputs": [tensor("x", "INT8", [1], [1])], "outputs": [{"name": "x"}]}
    answer = server.predict(body, "/v2/models/iris/versions/0123456789ab/infer").json()
    assert (answer["id"], answer["model_name"]) == ("7", "iris")
    assert [each["name"] for each in answer["outputs"]] == ["x"]
    without = server.predict({"inputs": []}, "/v2/models/iris/infer")
    assert without.json()["id"] == without.headers["x-request-id"]


@pytest.mark.parametrize("name", sorted(set(DATATYPES) - {"BF16", "BYTES"}))
def test_every_datatype_goes_through_json_and_binary(server: Server, name: str) -> None:
    kind = DATATYPES[name].numpy
    values = np.array([[0, 1, 1]], dtype=kind)
    found = outputs(server, tensor("x", name, [1, 3], values.tolist()))["x"]
    assert (found["datatype"], found["data"]) == (name, values.reshape(-1).tolist())

    raw = values.tobytes()
    described = {
        "name": "x",
        "datatype": name,
        "shape": [1, 3],
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps(
        {
            "inputs": [described],
            "parameters": {"binary_data_output": True},
            "outputs": [{"name": "x"}],
        }
    ).encode()
    answer = server.client.post(
        "/v2/models/iris/infer",
        content=head + raw,
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": len(raw)}
    assert answer.content[length:] == raw


def test_binary_texts_and_bfloat16_can_be_sent(server: Server) -> None:
    texts = b"".join(struct.pack("<I", len(each)) + each for each in (b"a", b"bc"))
    half = struct.pack("<2H", 0x3F80, 0x4000)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "t",
                    "datatype": "BYTES",
                    "shape": [2],
                    "parameters": {"binary_data_size": len(texts)},
                },
                {
                    "name": "b",
                    "datatype": "BF16",
                    "shape": [2],
                    "parameters": {"binary_data_size": 4},
                },
            ],
        }
    ).encode()
    answer = server.client.post(
        "/v2/models/iris/infer",
        content=head + texts + half,
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    found = {each["name"]: each["data"] for each in answer.json()["outputs"]}
    assert (found["t"], found["b"]) == (["a", "bc"], [1.0, 2.0])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[]", "inputs: a list is required"),
        (b'{"inputs": 1}', "inputs: a list is required"),
        (b'{"inputs": [1]}', "inputs: each needs a name"),
        (
            b'{"inputs": [{"name": "x", "datatype": "FP31", "shape": [1], "data": [1]}]}',
            "unknown datatype 'FP31'; the known are BOOL",
        ),
        (
            b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1]}]}',
            r"has 1 elements, its shape \[2\] 2",
        ),
        (
            b'{"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [300]}]}',
            "out of the range of INT8",
        ),
        (
            b'{"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [1.5]}]}',
            "1.5 is not INT8",
        ),
        (
            b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": ["a"]}]}',
            "'a' is not FP32",
        ),
        (
            b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1], "data": []}]}',
            "not a list of lengths",
        ),
        (b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}', "neither data nor"),
        (
            b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}]}',
            "has 0 bytes, its shape needs 4",
        ),
        (b'{"inputs": [], "outputs": 3}', "outputs: is not a list"),
        (b'{"inputs": [], "parameters": 3}', "parameters: is not an object"),
        (
            b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [[1], 2]}]}',
            "not of one length",
        ),
    ],
)
def test_a_wrong_request_is_told_why(body: bytes, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        read_infer(body, None, "r")


def test_wrong_requests_are_400_and_unknown_names_404(server: Server) -> None:
    infer = {"inputs": [tensor("x", "FP32", [2], [1])]}
    assert server.predict(infer, "/v2/models/iris/infer").status_code == 400
    assert server.predict({"inputs": []}, "/v2/models/other/infer").status_code == 404
    assert server.predict({"inputs": []}, "/v2/models/iris/versions/9/infer").status_code == 404
    asked = {"inputs": [], "outputs": [{"name": "nothing"}]}
    assert server.predict(asked, "/v2/models/iris/infer").status_code == 400
    long = server.client.post(
        "/v2/models/iris/infer", content=b"{}", headers={"Inference-Header-Content-Length": "99"}
    )
    assert long.status_code == 400


def test_columns_become_a_dataframe_when_asked_for(server: Server) -> None:
    pytest.importorskip("pandas")
    columns = [tensor("a", "INT64", [2], [1, 2]), tensor("b", "INT64", [2], [10, 20])]
    found = outputs(server, *columns, parameters={"content_type": "pd"})
    assert found["frame"]["data"] == [11, 22]


def test_irregular_results_become_texts_of_json() -> None:
    (found,) = tensors([[1], [2, 3]])
    assert (found.datatype, found.shape, found.flat) == ("BYTES", (2,), ["[1]", "[2,3]"])
    (scalar,) = tensors({"x": 1.5})
    assert scalar.as_json() == {"name": "x", "datatype": "FP64", "shape": (1,), "data": [1.5]}
    assert [each.datatype for each in tensors({"a": True, "b": None, "c": [{"d": 1}]})] == [
        "BOOL",
        "BYTES",
        "BYTES",
    ]


def test_numbers_of_numpy_and_bytes_keep_their_types() -> None:
    scores = np.array([0.25, 0.5], dtype=np.float32)
    found = tensors(
        {
            "scores": list(scores),
            "rows": [np.array([1, 2]), np.array([3, 4])],
            "nested": [[np.float64(1)], [np.float64(2)]],
            "flags": list(scores > 0.3),
            "image": b"\xff",
            "texts": [b"a", "b"],
            "ragged": [np.array([1]), np.array([1, 2])],
        }
    )
    assert [(each.datatype, each.shape) for each in found] == [
        ("FP32", (2,)),
        ("INT64", (2, 2)),
        ("FP64", (2, 1)),
        ("BOOL", (2,)),
        ("BYTES", (1,)),
        ("BYTES", (2,)),
        ("BYTES", (2,)),
    ]
    assert found[4].as_binary()[1] == b"\1\0\0\0\xff"
    assert found[5].as_json()["data"] == ["a", "b"]


def test_what_predict_may_return_it_may_return_by_each_protocol(tmp_path: Any) -> None:
    source = """
        from starlette.responses import JSONResponse
        class PythonPredictor:
            def predict(self, payload):
                match (payload.get("instances") or payload["k"])[0]:
                    case "response": return JSONResponse({"error": "no age"}, status_code=409)
                    case "after": return {"y": 1}, lambda: print("called afterwards", flush=True)
                    case "generator": return (n for n in range(3))
    """
    statuses = {"response": 409, "after": 200, "generator": 406}
    with serving(tmp_path, source) as server:
        for name, status in statuses.items():
            v1 = server.predict({"instances": [name]}, "/v1/models/iris:predict")
            infer = {"inputs": [tensor("k", "BYTES", [1], [name])]}
            v2 = server.predict(infer, "/v2/models/iris/infer")
            assert (v1.status_code, v2.status_code) == (status, status)
        until(lambda: sum("called afterwards" in line for line in server.lines) == 2)


def test_health_and_metadata(server: Server) -> None:
    get = server.client.get
    assert get("/v2").json() == get("/v2/").json()
    assert get("/v2").json()["extensions"] == ["binary_tensor_data", "generate"]
    assert get("/v2/health/ready").json() == {"ready": True}
    assert get("/v2/models").json() == {"models": ["iris"]}
    assert get("/v2/models/iris").json()["versions"] == ["0123456789ab"]
    assert get("/v2/models/iris/versions/0123456789ab/ready").json() == {
        "name": "iris",
        "ready": True,
    }
    assert get("/v1/models/iris").json() == {"name": "iris", "ready": True}
    assert get("/v2/models/other/ready").status_code == 404
    assert server.predict({}, "/v2/repository/index").json()[0]["state"] == "READY"
    assert get("/ping").status_code == 200


def test_v1_and_other_protocols(server: Server) -> None:
    rows = {"instances": [[1, 2], [3, 4]]}
    assert server.predict(rows, "/v1/models/iris:predict").json() == {"predictions": [3, 7]}
    assert server.predict({}, "/v1/models/iris:predict").status_code == 400
    assert server.predict({"b": 1, "a": 2}, "/v1/models/iris:explain").json() == {
        "explained": ["a", "b"]
    }
    assert server.predict(
        {"inputs": [tensor("x", "INT8", [1], [1])]}, "/v2/models/iris/explain"
    ).json() == {"explained": ["x"]}
    assert server.predict({"x": 1}, "/invocations").json()["x"] == 1


def test_generate(server: Server) -> None:
    answer = server.predict({"id": "3", "text_input": "hello"}, "/v2/models/iris/generate")
    assert answer.json() == {
        "id": "3",
        "model_name": "iris",
        "model_version": "0123456789ab",
        "text_output": "HELLO",
    }
    assert server.predict({"text_input": "x"}, "/v2/models/iris/generate_stream").status_code == 406
    assert server.predict({}, "/v2/models/iris/generate").status_code == 400


def test_feedback_is_accepted_and_logged(server: Server) -> None:
    answer = server.predict({"id": "abc", "truth": "setosa"}, "/v2/models/iris/feedback")
    assert (answer.status_code, answer.json()) == (202, {"id": "abc"})
    assert server.predict({"truth": 1}, "/feedback").status_code == 400
    until(lambda: server.logged("feedback"))
    assert server.logged("feedback")[0]["feedback"] == {"id": "abc", "truth": "setosa"}
    for wrong in ("", "x" * 129, "two words", "line\nbreak", "ü"):
        refused = server.predict({"id": wrong, "truth": 1}, "/feedback")
        assert (refused.status_code, "x-request-id" in refused.text) == (400, True), wrong


@pytest.mark.parametrize(
    ("feedback", "status"),
    [
        ("def feedback(self, payload): got(payload)", 202),
        ("async def feedback(self, payload): got(payload)", 202),
        ("def feedback(self, payload): return self.later(payload)", 202),
        ("def feedback(self, payload): yield got(payload)", 500),
        ("async def feedback(self, payload): yield got(payload)", 500),
    ],
)
def test_feedback_runs_or_is_an_error(tmp_path: Any, feedback: str, status: int) -> None:
    source = f"""
        def got(payload):
            print("got", payload["truth"], flush=True)
        class PythonPredictor:
            def predict(self, payload): return 1
            async def later(self, payload): got(payload)
            {feedback}
    """
    with serving(tmp_path, source) as server:
        answer = server.predict({"id": "abc", "truth": "setosa"}, "/feedback")
        assert answer.status_code == status
        until(lambda: "got setosa" in server.log() or status == 500)


def test_feedback_does_not_count_as_a_prediction(server: Server) -> None:
    before = server.metric("predictor_requests_total", code="202")
    assert server.predict({"id": "abc", "truth": 1}, "/feedback").status_code == 202
    assert server.metric("predictor_requests_total", code="202") == before


def test_tritons_client_agrees(server: Server) -> None:
    http: Any = pytest.importorskip("tritonclient.http")
    with http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("iris")
        assert client.get_model_metadata("iris")["name"] == "iris"
        values = np.arange(6, dtype=np.float16).reshape(2, 3)
        asked = http.InferInput("x", [2, 3], "FP16").set_data_from_numpy(values)
        texts = http.InferInput("t", [2], "BYTES").set_data_from_numpy(
            np.array([b"a", b"b"], dtype=object)
        )
        for binary in (True, False):
            wanted = [http.InferRequestedOutput(name, binary_data=binary) for name in ("x", "t")]
            if not binary:
                asked = http.InferInput("x", [2, 3], "FP32").set_data_from_numpy(
                    values.astype(np.float32), binary_data=False
                )
                texts.set_data_from_numpy(np.array([b"a", b"b"], dtype=object), binary_data=False)
            result = client.infer("iris", [asked, texts], outputs=wanted, request_id="9")
            assert (result.as_numpy("x") == values).all()
            assert [
                each.decode() if isinstance(each, bytes) else each for each in result.as_numpy("t")
            ] == ["a", "b"]
            assert result.get_response()["id"] == "9"


def test_batches_are_made_of_any_protocol(tmp_path: Any) -> None:
    source = """
        class PythonPredictor:
            def predict(self, payload):
                return [{"n": float(each["n"][0]) if hasattr(each["n"], "shape") else each["n"]} for each in payload]
    """
    with serving(tmp_path, source, batching={"maxBatchSize": 4}) as server:
        infer = {"inputs": [tensor("n", "FP32", [1], [5])]}
        answer = server.predict(infer, "/v2/models/iris/infer").json()
        assert answer["outputs"][0]["data"] == [5.0]
        assert server.predict({"instances": [], "n": 2}, "/v1/models/iris:predict").json() == {
            "predictions": {"n": 2}
        }
        assert server.metric("predictor_batch_size_count") == 2
