"""The shared vectors: every case of every file, by its id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tempest import names, wire
from tempest.background import BACKGROUND, Background
from tempest.errors import CODES, WireError
from tempest.following import following
from tempest.http import Request, decode_request
from tempest.limits import backoff_cap_ms
from tempest.names import Keys

VECTORS = Path(__file__).resolve().parents[3] / "protocol" / "vectors"

READ = {
    "backoff",
    "background",
    "code",
    "encode_http",
    "encode_job",
    "encode_reply",
    "following",
    "http",
    "job",
    "key",
    "name",
    "reply",
    "requeue",
}
NOT_OF_A_WORKER = {
    "event": "payloads are rendered for browsers by fronts alone",
    "subscribable": "only fronts let browsers subscribe",
    "schema": "the schema of the others",
}


def cases(file: str) -> pytest.MarkDecorator:
    loaded = json.loads((VECTORS / f"{file}.json").read_text())["cases"]
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in loaded])


def test_every_file_is_known() -> None:
    assert {path.stem for path in VECTORS.glob("*.json")} == READ | set(NOT_OF_A_WORKER)


def test_no_file_is_empty() -> None:
    for file in READ:
        assert json.loads((VECTORS / f"{file}.json").read_text())["cases"], file


def data(given: dict[str, str]) -> bytes:
    return given["text"].encode() if "text" in given else bytes.fromhex(given["hex"])


def shown(value: Any) -> Any:
    """A value as the vectors write it: what JSON cannot hold as a map with one `$` name."""
    if isinstance(value, bytes):
        return {"$hex": value.hex()}
    if isinstance(value, msgpack.ExtType):
        return {"$ext": [value.code, value.data.hex()]}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    return value


def meant(value: Any) -> Any:
    """The reverse of `shown`."""
    if isinstance(value, dict) and set(value) == {"$hex"}:
        return bytes.fromhex(value["$hex"])
    if isinstance(value, list):
        return [meant(item) for item in value]
    if isinstance(value, dict):
        return {name: meant(item) for name, item in value.items()}
    return value


def same(one: Any, other: Any) -> bool:
    """Equality of JSON texts: tells true from 1, and 1.0 from 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def job_shown(job: wire.Job) -> dict[str, Any]:
    envelope = "encoding action id reply_to deadline attempt attempts lane queued_at traceparent session"
    return {name: getattr(job, name) for name in envelope.split()} | {"args": shown(job.args)}


def http_shown(request: Request) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.url,
        "headers": [list(pair) for pair in request.headers.pairs],
        "body_hex": request.body.hex(),
        "remote": request.remote,
        "scheme": request.scheme,
        "host": request.host,
    }


def reply_shown(reply: wire.Reply) -> dict[str, Any]:
    return {
        "encoding": reply.encoding,
        "id": reply.id,
        "attempt": reply.attempt,
        "more": reply.more,
        "seq": reply.seq,
        "claimed_at": reply.claimed_at,
        "work_us": reply.work_us,
        "status": reply.status,
        "headers": [list(pair) for pair in reply.headers],
        "body_hex": reply.body.hex(),
        "result": None if reply.result is None else {"value": shown(reply.result[0])},
        "error": None if reply.error is None else {"code": reply.error[0], "message": reply.error[1]},
    }


def check(case: dict[str, Any], decode: Any) -> None:
    """Decodes; compares with `out`, or the code of the failure with `error`."""
    if "error" in case:
        with pytest.raises(WireError) as caught:
            decode()
        assert caught.value.code == case["error"], caught.value.detail
        return
    found = decode()
    assert same(found, case["out"]), found


def keys_of(case: dict[str, Any]) -> Keys:
    return Keys(case.get("prefix", "tempest"))


@cases("job")
def test_job(case: dict[str, Any]) -> None:
    check(case, lambda: job_shown(wire.decode_job(data(case["in"]), keys_of(case))))


def background_shown(job: wire.Job) -> dict[str, Any]:
    said = job.background or Background()
    names = "keep unique unique_while key group then input"
    return {name: shown(getattr(said, name)) for name in names.split()}


@cases("background")
def test_background(case: dict[str, Any]) -> None:
    check(case, lambda: background_shown(wire.decode_job(data(case["in"]), keys_of(case))))


@cases("following")
def test_following(case: dict[str, Any]) -> None:
    def next_one() -> dict[str, Any]:
        given = case["in"]
        job = wire.decode_job(data(given["job"]), Keys())
        found = following(job, data(given["result"]), given["now"], Keys())
        return {"queue": found and found.queue, "job": found and found.data.hex()}

    expected = dict(case)
    if "out" in case:
        job = case["out"]["job"]
        expected["out"] = {"queue": case["out"]["queue"], "job": job and data(job).hex()}
    check(expected, next_one)


@cases("http")
def test_http(case: dict[str, Any]) -> None:
    check(case, lambda: http_shown(decode_request(wire.decode_job(data(case["in"]), keys_of(case)))))


@cases("reply")
def test_reply(case: dict[str, Any]) -> None:
    check(case, lambda: reply_shown(wire.decode_reply(data(case["in"]))))


@cases("requeue")
def test_requeue(case: dict[str, Any]) -> None:
    def requeue() -> dict[str, str]:
        job = wire.decode_job(data(case["in"]), keys_of(case))
        return {"hex": wire.with_attempt(job, case["attempt"]).hex()}

    expected = {"out": {"hex": data(case["out"]).hex()}} if "out" in case else {"error": case["error"]}
    check(expected, requeue)


def encodings(case: dict[str, Any]) -> list[Any]:
    return list(case.get("encodings", ["json", "msgpack"]))


def top_fields(frame: bytes) -> list[str]:
    loaded = json.loads(frame) if frame[:1] == b"{" else msgpack.unpackb(frame, raw=False)
    return list(loaded)


def check_fields(case: dict[str, Any], found: list[str]) -> None:
    assert set(case["must_contain"]) <= set(found)
    assert not set(case["must_not_contain"]) & set(found)


def check_order(found: list[str], promised: str) -> None:
    order = promised.split()
    assert found == sorted(found, key=order.index)


@cases("encode_job")
def test_encode_job(case: dict[str, Any]) -> None:
    for encoding in encodings(case):
        fields = case["in"] | {"args": meant(case["in"]["args"]), "encoding": encoding}
        said = {name: fields.pop(name) for name in BACKGROUND & fields.keys()}
        if said:
            fields["background"] = Background(**said)
        frame = wire.Job(**fields).encode()
        found = top_fields(frame)
        check_fields(case, found)
        check_order(
            found,
            "id reply_to action attempt attempts deadline lane queued_at traceparent session "
            "keep unique unique_while key group then input args",
        )
        job = wire.decode_job(frame, keys_of(case))
        decoded = job_shown(job) | (background_shown(job) if said else {})
        assert same(decoded, case["in"] | {"encoding": encoding})


@cases("encode_http")
def test_encode_http(case: dict[str, Any]) -> None:
    for encoding in encodings(case):
        given = dict(case["in"])
        body = bytes.fromhex(given.pop("body_hex"))
        headers = [(name, value) for name, value in given.pop("headers")]
        args = Request(**given, headers=headers, body=body).encode(encoding)
        check_fields(case, list(args))
        frame = wire.Job("url", args=args, encoding=encoding).encode()
        assert same(http_shown(decode_request(wire.decode_job(frame, Keys()))), case["in"])


@cases("encode_reply")
def test_encode_reply(case: dict[str, Any]) -> None:
    for encoding in encodings(case):
        given = dict(case["in"])
        result, error = given.pop("result"), given.pop("error")
        reply = wire.Reply(
            **{name: given[name] for name in ("id", "attempt", "more", "seq", "claimed_at", "work_us", "status")},
            headers=[(name, value) for name, value in given["headers"]],
            body=bytes.fromhex(given["body_hex"]),
            result=None if result is None else (meant(result["value"]),),
            error=None if error is None else (error["code"], error["message"]),
            encoding=encoding,
        )
        frame = reply.encode()
        found = top_fields(frame)
        check_fields(case, found)
        check_order(found, "id attempt more seq claimed_at work_us status headers body body_base64 result error")
        assert same(reply_shown(wire.decode_reply(frame)), case["in"] | {"encoding": encoding})


@cases("name")
def test_name(case: dict[str, Any]) -> None:
    def checked() -> dict[str, bool]:
        names.check_name(case["in"]["kind"], case["in"]["name"])
        return {"ok": True}

    check(case, checked)


@cases("key")
def test_key(case: dict[str, Any]) -> None:
    given = dict(case["in"])
    made = getattr(Keys(given.pop("prefix")), given.pop("key"))
    check(case, lambda: {"key": made(**given)})


@cases("backoff")
def test_backoff(case: dict[str, Any]) -> None:
    check(case, lambda: {"cap_ms": backoff_cap_ms(**case["in"])})


@cases("code")
def test_code(case: dict[str, Any]) -> None:
    check(case, lambda: {"http": CODES[case["in"]["code"]]})


def test_every_code_has_a_case() -> None:
    listed = json.loads((VECTORS / "code.json").read_text())["cases"]
    assert [case["in"]["code"] for case in listed] == list(CODES)
