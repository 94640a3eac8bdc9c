"""OpenAI's routes, by hand and with OpenAI's own client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.predictor_server import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = """
    from predictor_base import HTTPError
    class PythonPredictor:
        def chat_completions(self, payload):
            if payload["messages"] == "refuse": raise HTTPError(400, "no such messages")
            for word in payload["messages"][-1]["content"].split():
                yield word + " "
        def completions(self, payload):
            return payload["prompt"].upper()
        async def embeddings(self, payload):
            return [[float(len(each)), 0.5] for each in payload["input"]]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("openai"), SOURCE) as found:
        yield found


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1"])
def test_the_public_client_agrees(server: Server, prefix: str) -> None:
    openai: Any = pytest.importorskip("openai")
    with openai.OpenAI(api_key="none", base_url=server.url + prefix, max_retries=0) as client:
        assert [each.id for each in client.models.list()] == ["iris"]
        messages = [{"role": "user", "content": "hello there"}]
        whole = client.chat.completions.create(model="iris", messages=messages)
        assert whole.choices[0].message.content == "hello there "
        with client.chat.completions.create(model="iris", messages=messages, stream=True) as stream:
            pieces = [each.choices[0] for each in stream]
        assert [each.delta.content for each in pieces] == ["hello ", "there ", None]
        assert pieces[-1].finish_reason == "stop"
        assert client.completions.create(model="iris", prompt="hi").choices[0].text == "HI"
        found = client.embeddings.create(model="iris", input=["a", "bcd"])
        assert [each.embedding for each in found.data] == [[1.0, 0.5], [3.0, 0.5]]
        with pytest.raises(openai.BadRequestError, match="no such messages"):
            client.chat.completions.create(model="iris", messages="refuse")


def test_a_stream_ends_as_clients_expect(server: Server) -> None:
    answer = server.predict(
        {"messages": [{"content": "a b"}], "stream": True}, "/v1/chat/completions"
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("\n\ndata: [DONE]\n\n")


def test_errors_have_openais_shape(server: Server) -> None:
    missing = server.predict({}, "/v1/completions")
    assert (missing.status_code, missing.json()["error"]["type"]) == (400, "invalid_request_error")
    assert server.predict({"prompt": "x", "stream": True}, "/v1/completions").status_code == 406


OBJECTS = """
    import pandas
    from openai.types import CreateEmbeddingResponse
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    HEAD = {"id": "mine", "created": 1, "model": "m"}

    class PythonPredictor:
        def chat_completions(self, payload):
            if payload.get("stream"): return self.chunks()
            message = {"role": "assistant", "content": "whole"}
            choice = {"index": 0, "finish_reason": "length", "message": message}
            return ChatCompletion(choices=[choice], object="chat.completion", **HEAD)
        def chunks(self):
            choice = {"index": 0, "delta": {"content": "part"}}
            yield ChatCompletionChunk(choices=[choice], object="chat.completion.chunk", **HEAD)
        def embeddings(self, payload):
            match payload["input"]:
                case "object":
                    item = {"index": 0, "object": "embedding", "embedding": [1.5]}
                    usage = {"prompt_tokens": 1, "total_tokens": 1}
                    return CreateEmbeddingResponse(data=[item], object="list", model="m", usage=usage)
                case "frame": return pandas.DataFrame([[1.5, 2.5], [3.5, 4.5]])
                case "dict": return {"vectors": [[1.5]]}
"""


def test_objects_of_openais_library_and_tables_keep_their_meaning(tmp_path: Any) -> None:
    pytest.importorskip("openai")
    with serving(tmp_path, OBJECTS) as server:
        asked = {"messages": [{"content": "x"}]}
        whole = server.predict(asked, "/v1/chat/completions").json()
        (choice,) = whole["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("whole", "length")
        stream = server.predict({**asked, "stream": True}, "/v1/chat/completions").text
        assert json.loads(stream.splitlines()[0].removeprefix("data: "))["id"] == "mine"
        vectors = {"object": [[1.5]], "frame": [[1.5, 2.5], [3.5, 4.5]]}
        for name, expected in vectors.items():
            found = server.predict({"input": name}, "/v1/embeddings").json()["data"]
            assert [each["embedding"] for each in found] == expected
        assert server.predict({"input": "dict"}, "/v1/embeddings").status_code == 500


def test_a_predictor_without_the_methods_answers_501(tmp_path: Any) -> None:
    source = "class PythonPredictor:\n    def predict(self): return 1"
    with serving(tmp_path, source) as server:
        answer = server.predict({"messages": []}, "/v1/chat/completions")
        assert answer.status_code == 501
        assert "no chat_completions method" in answer.json()["error"]["message"]
