"""Values keep their meaning: each of the tables below, out of predict and into it, by each protocol."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.ports import free_port
from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator

http: Any = pytest.importorskip("tritonclient.http")
grpc: Any = pytest.importorskip("tritonclient.grpc")

UUID5 = "00000000-0000-0000-0000-000000000005"
DAY = "2020-01-02T03:04:05"
OUT: dict[str, tuple[str, Any, tuple[str, list[int], Any]]] = {
    # what predict returns as y, its JSON, and its tensor
    "true": ("True", True, ("BOOL", [1], [True])),
    "int": ("7", 7, ("INT64", [1], [7])),
    "int 64": ("-2**63", -(2**63), ("INT64", [1], [-(2**63)])),
    "unsigned": ("2**64 - 1", 2**64 - 1, ("UINT64", [1], [2**64 - 1])),
    "float": ("0.1", 0.1, ("FP64", [1], [0.1])),
    "int and float": ("[1, 2.5]", [1, 2.5], ("FP64", [2], [1.0, 2.5])),
    "text": ("'caf\u00e9'", "café", ("BYTES", [1], ["café"])),
    "none": ("None", None, ("BYTES", [1], ["null"])),
    "list": ("[[1, 2], [3, 4]]", [[1, 2], [3, 4]], ("INT64", [2, 2], [1, 2, 3, 4])),
    "tuples": ("((1, 2), (3, 4))", [[1, 2], [3, 4]], ("INT64", [2, 2], [1, 2, 3, 4])),
    "ragged": ("[[1], [2, 3]]", [[1], [2, 3]], ("BYTES", [2], ["[1]", "[2,3]"])),
    "range": ("range(3)", [0, 1, 2], ("INT64", [3], [0, 1, 2])),
    "deque": ("collections.deque([1])", [1], ("INT64", [1], [1])),
    "dict": ("{'a': 1}", {"a": 1}, ("BYTES", [1], ['{"a":1}'])),
    "keys of numpy": (
        "dict(zip(*numpy.unique([1, 2], return_counts=True)))",
        {"1": 1, "2": 1},
        ("BYTES", [1], ['{"1":1,"2":1}']),
    ),
    "int8": ("numpy.int8(-3)", -3, ("INT8", [1], [-3])),
    "uint64": ("numpy.uint64(2**64 - 1)", 2**64 - 1, ("UINT64", [1], [2**64 - 1])),
    "float16": ("numpy.float16(0.5)", 0.5, ("FP16", [1], [0.5])),
    "bool of numpy": ("numpy.bool_(True)", True, ("BOOL", [1], [True])),
    "text of numpy": ("numpy.str_('a')", "a", ("BYTES", [1], ["a"])),
    "array": ("numpy.array([[1, 2]], 'float32')", [[1.0, 2.0]], ("FP32", [1, 2], [1.0, 2.0])),
    "strided": ("numpy.arange(6)[::2]", [0, 2, 4], ("INT64", [3], [0, 2, 4])),
    "list of numpy": ("list(numpy.array([1, 2], 'int16'))", [1, 2], ("INT16", [2], [1, 2])),
    "array of texts": ("numpy.array(['a', 'bc'])", ["a", "bc"], ("BYTES", [2], ["a", "bc"])),
    "objects": ("numpy.array([1, 'a'], object)", [1, "a"], ("BYTES", [2], ["1", "a"])),
    "moments": (
        "numpy.array(['2020-01-02T03:04:05', 'NaT'], 'datetime64[ns]')",
        [DAY, None],
        ("BYTES", [2], [DAY, "null"]),
    ),
    "durations": (
        "numpy.array([90], 'timedelta64[s]')",
        ["P0DT0H1M30S"],
        ("BYTES", [1], ["P0DT0H1M30S"]),
    ),
    "series": ("pandas.Series([1.5, 2])", [1.5, 2.0], ("FP64", [2], [1.5, 2.0])),
    "missing": (
        "pandas.array([True, None], 'boolean')",
        [True, None],
        ("BYTES", [2], ["true", "null"]),
    ),
    "datetime": ("datetime.datetime(2020, 1, 2, 3, 4, 5)", DAY, ("BYTES", [1], [DAY])),
    "zone": (
        "datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc)",
        "2020-01-02T00:00:00+00:00",
        ("BYTES", [1], ["2020-01-02T00:00:00+00:00"]),
    ),
    "date": ("datetime.date(2020, 1, 2)", "2020-01-02", ("BYTES", [1], ["2020-01-02"])),
    "timestamp": (f"pandas.Timestamp('{DAY}')", DAY, ("BYTES", [1], [DAY])),
    "timedelta": (
        "datetime.timedelta(days=1, seconds=-1)",
        "P0DT23H59M59S",
        ("BYTES", [1], ["P0DT23H59M59S"]),
    ),
    "decimal": ("decimal.Decimal('0.10')", 0.1, ("BYTES", [1], ["0.10"])),
    "uuid": ("uuid.UUID(int=5)", UUID5, ("BYTES", [1], [UUID5])),
    "enum": ("Color.RED", "red", ("BYTES", [1], ["red"])),
    "enum of ints": ("[Size.BIG, 1]", [3, 1], ("INT64", [2], [3, 1])),
    "dataclass": (
        "Point(1, uuid.UUID(int=5))",
        {"x": 1, "id": UUID5},
        ("BYTES", [1], [f'{{"x":1,"id":"{UUID5}"}}']),
    ),
    "pydantic": ("Model(x=1)", {"x": 1.0}, ("BYTES", [1], ['{"x":1.0}'])),
    "frame": (
        "pandas.DataFrame({'a': [1, 2], 'b': ['x', None]})",
        [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
        ("BYTES", [2], ['{"a":1,"b":"x"}', '{"a":2,"b":null}']),
    ),
    "masked": (
        "numpy.ma.array([1.5, 2], mask=[0, 1])",
        [1.5, None],
        ("BYTES", [2], ["1.5", "null"]),
    ),
    "large beside null": (
        "pandas.array([2**60 + 1, None], 'Int64')",
        [2**60 + 1, None],
        ("BYTES", [2], [str(2**60 + 1), "null"]),
    ),
    "long double": ("numpy.array([1.5], 'longdouble')", [1.5], ("FP64", [1], [1.5])),
    "declared": ("1", 1, ("FP64", [1], [1.0])),
}
TABLES = {
    "arrow": "pyarrow.table(COLUMNS)",
    "polars": "polars.DataFrame(COLUMNS)",
    "pandas": "pandas.DataFrame(COLUMNS)",
}
UNUSUAL = (
    "numpy.array(['NaT'], 'datetime64[ns]')",
    "2**70",
    "'\\udcff'",
    "float('nan')",
    "decimal.Decimal('0.10')",
    "uuid.UUID(int=5)",
)
REFUSED_TENSORS = {"over 64 bits": "2**70", "below": "-2**64", "no float": "[2**60 + 1, 0.5]"}
SOURCE = f"""
    import collections, dataclasses, datetime, decimal, enum, importlib, uuid
    from typing import TypedDict
    import numpy, pandas
    from pydantic import BaseModel, RootModel

    class Color(enum.Enum):
        RED = "red"
    class Size(enum.Enum):
        BIG = 3
    @dataclasses.dataclass
    class Point:
        x: int
        id: uuid.UUID
    class Model(BaseModel):
        x: float
    class Root(RootModel[list[int]]): pass
    class Predictions(BaseModel):
        predictions: list[int]
    class Any(dict):
        def __getattr__(self, name): return self.get(name)
    class Answer(TypedDict, total=False):
        declared: float

    COLUMNS = {{"a": [1, 2], "b": ["x", "y"]}}
    VALUES = {{{", ".join(f"{name!r}: lambda: {row[0]}" for name, row in OUT.items())}}}
    WHOLE = {{{", ".join(f"{name!r}: lambda: {text}" for name, text in TABLES.items())},
              "point": lambda: Point(1, uuid.UUID(int=5)), "model": lambda: Model(x=1),
              "any": lambda: Any(x=1.0), "any beside": lambda: Any({{"x": Any(y=1)}}),
              "root": lambda: Root([1, 2]), "answer": lambda: Predictions(predictions=[1])}}
    REFUSED = {{{", ".join(f"{name!r}: lambda: {text}" for name, text in REFUSED_TENSORS.items())}}}
    MIXED = lambda: [{", ".join(UNUSUAL)}, Point(2**65, uuid.UUID(int=5)), {{numpy.int64(1): Color.RED}}]

    class PythonPredictor:
        def predict(self, payload) -> Answer:
            name = payload.get("v", payload.get("instances"))[0]
            name = name if isinstance(name, str) else name["v"]
            if name in WHOLE:
                globals().update({{each: importlib.import_module(each) for each in payload.get("import", ())}})
                globals().update(pyarrow=pyarrow, polars=polars) if name in ("arrow", "polars") else None
                return WHOLE[name]()
            if name == "mixed": return {{"y": MIXED()}}
            if name in REFUSED: return {{"y": REFUSED[name]()}}
            return {{"declared" if name == "declared" else "y": VALUES[name]()}}

        def generate(self, payload):
            yield self.predict({{"v": [payload["text_input"]]}})

    class Lazy:
        def __init__(self, name): self.name = name
        def __getattr__(self, item): return getattr(importlib.import_module(self.name), item)
    pyarrow, polars = Lazy("pyarrow"), Lazy("polars")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    port = free_port()
    arguments = ("--grpc-port", str(port))
    with serving(tmp_path_factory.mktemp("values"), SOURCE, arguments=arguments) as found:
        yield found, port


def v2(name: str) -> dict[str, Any]:
    return {"inputs": [{"name": "v", "datatype": "BYTES", "shape": [1], "data": [name]}]}


def texts(values: Any) -> list[Any]:
    return [
        each.decode() if isinstance(each, bytes) else each for each in values.reshape(-1).tolist()
    ]


@pytest.mark.parametrize("name", OUT)
def test_a_value_is_the_same_by_every_protocol(server: tuple[Server, int], name: str) -> None:
    http_server, port = server
    _, value, (datatype, shape, flat) = OUT[name]
    key = "declared" if name == "declared" else "y"
    assert http_server.predict({"v": [name]}).json() == {key: value}
    v1 = http_server.predict({"instances": [name]}, "/v1/models/iris:predict")
    assert v1.json() == {"predictions": {key: value}}
    streamed = http_server.predict({"text_input": name}, "/v2/models/iris/generate_stream").text
    assert json.loads(json.loads(streamed.removeprefix("data: "))["text_output"]) == {key: value}
    (output,) = http_server.predict(v2(name), "/v2/models/iris/infer").json()["outputs"]
    assert output == {"name": key, "datatype": datatype, "shape": shape, "data": flat}
    with http.InferenceServerClient(f"127.0.0.1:{http_server.port}") as client:
        asked = http.InferInput("v", [1], "BYTES").set_data_from_numpy(np.array([name], object))
        result = client.infer(
            "iris", [asked], outputs=[http.InferRequestedOutput(key, binary_data=True)]
        )
        assert texts(result.as_numpy(key)) == flat
        assert result.get_output(key)["datatype"] == datatype
    with grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        asked = grpc.InferInput("v", [1], "BYTES")
        asked.set_data_from_numpy(np.array([name], object))
        result = client.infer("iris", [asked])
        assert texts(result.as_numpy(key)) == flat
        assert (result.get_output(key).datatype, list(result.get_output(key).shape)) == (
            datatype,
            shape,
        )


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_its_rows_in_json_and_its_columns_as_tensors(
    server: tuple[Server, int], name: str
) -> None:
    module = {"arrow": "pyarrow"}.get(name, name)
    pytest.importorskip(module)
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert server[0].predict({"v": [name]}).json() == rows
    outputs = server[0].predict(v2(name), "/v2/models/iris/infer").json()["outputs"]
    assert outputs == [
        {"name": "a", "datatype": "INT64", "shape": [2], "data": [1, 2]},
        {"name": "b", "datatype": "BYTES", "shape": [2], "data": ["x", "y"]},
    ]


@pytest.mark.parametrize(
    ("name", "fields"),
    [("point", {"x": 1, "id": UUID5}), ("model", {"x": 1.0}), ("any", {"x": 1.0})],
)
def test_a_record_is_an_object_in_json_and_its_fields_as_tensors(
    server: tuple[Server, int], name: str, fields: dict[str, Any]
) -> None:
    assert server[0].predict({"v": [name]}).json() == fields
    outputs = server[0].predict(v2(name), "/v2/models/iris/infer").json()["outputs"]
    assert {each["name"]: each["data"][0] for each in outputs} == fields


def test_a_record_of_another_form_keeps_it(server: tuple[Server, int]) -> None:
    for name, value in {"root": [1, 2], "any beside": {"x": {"y": 1}}}.items():
        assert server[0].predict({"v": [name]}).json() == value
    (output,) = server[0].predict(v2("root"), "/v2/models/iris/infer").json()["outputs"]
    assert output == {"name": "output", "datatype": "INT64", "shape": [2], "data": [1, 2]}
    v1 = server[0].predict({"instances": ["answer"]}, "/v1/models/iris:predict")
    assert v1.json() == {"predictions": [1]}


def test_an_unusual_value_changes_nothing_beside_it(server: tuple[Server, int]) -> None:
    text = server[0].predict({"v": ["mixed"]}).text
    assert text == (
        '{"y":[[null],1180591620717411303424,"\\udcff",null,0.10,"' + UUID5 + '",'
        '{"x":36893488147419103232,"id":"' + UUID5 + '"},{"1":"red"}]}'
    )


@pytest.mark.parametrize("name", REFUSED_TENSORS)
def test_a_number_that_no_datatype_holds_is_refused(server: tuple[Server, int], name: str) -> None:
    assert server[0].predict({"v": [name]}).status_code == 200
    assert server[0].predict(v2(name), "/v2/models/iris/infer").status_code == 500
    until(lambda: server[0].logged("return a text"))


INTO: dict[str, tuple[Any, str]] = {
    # what a client sends in JSON, and what predict gets
    "true": (True, "True"),
    "int": (7, "7"),
    "int 64": (-(2**63), str(-(2**63))),
    "long": (10**40, str(10**40)),
    "float": (0.1, "0.1"),
    "small": (5e-324, "5e-324"),
    "text": ("café\u2028\x00", "'café\\u2028\\x00'"),
    "surrogates": ("\U0001f600", "'\U0001f600'"),
    "null": (None, "None"),
    "list": ([1, [2.5, "a"]], "[1, [2.5, 'a']]"),
    "object": ({"a": {"b": [None]}}, "{'a': {'b': [None]}}"),
    "empty": ([], "[]"),
}
TENSORS: dict[str, tuple[list[int], list[Any], str]] = {
    "BOOL": ([2], [True, False], "bool [True, False]"),
    "INT8": ([2], [-128, 127], "int8 [-128, 127]"),
    "INT16": ([1], [-(2**15)], "int16 [-32768]"),
    "INT32": ([1], [2**31 - 1], "int32 [2147483647]"),
    "INT64": ([1, 1], [-(2**63)], f"int64 [[{-(2**63)}]]"),
    "UINT8": ([1], [255], "uint8 [255]"),
    "UINT16": ([1], [65535], "uint16 [65535]"),
    "UINT32": ([1], [2**32 - 1], f"uint32 [{2**32 - 1}]"),
    "UINT64": ([1], [2**64 - 1], f"uint64 [{2**64 - 1}]"),
    "FP16": ([1], [0.5], "float16 [0.5]"),
    "FP32": ([2, 1], [0.25, -1.0], "float32 [[0.25], [-1.0]]"),
    "FP64": ([1], [0.1], "float64 [0.1]"),
    "BYTES": ([2], ["a", "é"], "list ['a', 'é']"),
}
ECHO = """
    class PythonPredictor:
        def predict(self, payload):
            values = payload.get("v", payload.get("instances"))
            if hasattr(values, "dtype"): return {"y": f"{values.dtype} {values.tolist()}"}
            return {"y": f"list {values!r}" if "v" in payload else repr(values[0])}
        def explain(self, payload):
            return {"y": repr(payload["v"])}
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    port = free_port()
    arguments = ("--grpc-port", str(port))
    with serving(tmp_path_factory.mktemp("echo"), ECHO, arguments=arguments) as found:
        yield found, port


@pytest.mark.parametrize("name", INTO)
def test_json_reaches_predict_as_it_was_sent(echo: tuple[Server, int], name: str) -> None:
    value, seen = INTO[name]
    assert echo[0].predict({"instances": [value]}).json() == {"y": seen}
    v1 = echo[0].predict({"instances": [value]}, "/v1/models/iris:predict")
    assert v1.json() == {"predictions": {"y": seen}}
    assert echo[0].predict({"v": value}, "/v1/models/iris:explain").json() == {"y": seen}


@pytest.mark.parametrize("datatype", TENSORS)
def test_a_tensor_reaches_predict_with_its_datatype(
    echo: tuple[Server, int], datatype: str
) -> None:
    http_server, port = echo
    shape, flat, seen = TENSORS[datatype]
    sent = {"name": "v", "datatype": datatype, "shape": shape, "data": flat}
    (output,) = http_server.predict({"inputs": [sent]}, "/v2/models/iris/infer").json()["outputs"]
    assert output["data"] == [seen]
    kind = object if datatype == "BYTES" else seen.partition(" ")[0]
    array = np.array(flat, dtype=kind).reshape(shape)
    with http.InferenceServerClient(f"127.0.0.1:{http_server.port}") as client:
        asked = http.InferInput("v", shape, datatype).set_data_from_numpy(array)
        assert texts(client.infer("iris", [asked]).as_numpy("y")) == [seen]
    with grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        asked = grpc.InferInput("v", shape, datatype)
        asked.set_data_from_numpy(array)
        assert texts(client.infer("iris", [asked]).as_numpy("y")) == [seen]


TYPED = """
    from dataclasses import dataclass
    import datetime, decimal, enum, uuid
    import numpy

    class Color(enum.Enum):
        RED = "red"
    @dataclass
    class Inner:
        x: float
    @dataclass
    class Row:
        when: datetime.datetime | None = None
        day: datetime.date | None = None
        price: decimal.Decimal | None = None
        id: uuid.UUID | None = None
        color: Color | None = None
        one: float = 0.0
        many: list[float] | None = None
        array: numpy.ndarray | None = None
        inner: Inner | None = None
    class PythonPredictor:
        def predict(self, payload: Row):
            return {"y": repr({k: v for k, v in vars(payload).items() if v is not None and k != "one" or v})}
"""
FIELDS: dict[str, tuple[str, Any, str]] = {
    "when": ("BYTES", "2020-01-02T03:04:05Z", "datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo="),
    "day": ("BYTES", "2020-01-02", "datetime.date(2020, 1, 2)"),
    "price": ("BYTES", "0.10", "Decimal('0.10')"),
    "id": ("BYTES", UUID5, f"UUID('{UUID5}')"),
    "color": ("BYTES", "red", "<Color.RED: 'red'>"),
    "one": ("FP64", 1.5, "'one': 1.5"),
    "many": ("FP64", [1.5], "'many': [1.5]"),
}
WRONG = {"when": "x", "day": "x", "price": "x", "id": "x", "color": "blue", "one": "x", "many": "x"}


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    port = free_port()
    arguments = ("--grpc-port", str(port))
    with serving(tmp_path_factory.mktemp("typed"), TYPED, arguments=arguments) as found:
        yield found, port


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_of_its_annotated_type_by_every_protocol(
    typed: tuple[Server, int], name: str
) -> None:
    http_server, port = typed
    datatype, value, seen = FIELDS[name]
    flat = value if isinstance(value, list) else [value]
    assert seen in http_server.predict({name: value}).json()["y"]
    sent = {"name": name, "datatype": datatype, "shape": [1], "data": flat}
    infer = http_server.predict({"inputs": [sent]}, "/v2/models/iris/infer").json()
    assert seen in infer["outputs"][0]["data"][0]
    array = np.array(flat, dtype=object if datatype == "BYTES" else np.float64)
    with grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        asked = grpc.InferInput(name, [1], datatype)
        asked.set_data_from_numpy(array)
        assert seen in texts(client.infer("iris", [asked]).as_numpy("y"))[0]


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_is_not_of_the_annotated_type_is_refused(
    typed: tuple[Server, int], name: str
) -> None:
    http_server, port = typed
    answer = http_server.predict({name: WRONG[name]})
    assert (
        answer.status_code,
        f"payload.{name}: 'x' is not" in answer.text.replace("blue", "x"),
    ) == (422, True)
    with grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        asked = grpc.InferInput(name, [1], "BYTES")
        asked.set_data_from_numpy(np.array([WRONG[name]], dtype=object))
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            client.infer("iris", [asked])


def test_an_array_reaches_a_field_of_that_type(typed: tuple[Server, int]) -> None:
    sent = {"name": "array", "datatype": "FP32", "shape": [1], "data": [2]}
    answer = typed[0].predict({"inputs": [sent]}, "/v2/models/iris/infer").json()
    assert answer["outputs"][0]["data"] == ["{'array': array([2.], dtype=float32)}"]
