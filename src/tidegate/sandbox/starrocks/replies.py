"""The JSON of answers, as backend and frontend write it.

be ``runtime/stream_load/stream_load_context.cpp`` (to_json, to_resp_json), fe ``http/rest/RestBaseResult.java``,
``TransactionResult.java``. Status, Message and the counts; the times that it took are 0.
"""

from __future__ import annotations

import json
from typing import Any

from tidegate.sandbox.starrocks.httpd import Answer
from tidegate.sandbox.starrocks.labels import Transaction

_TIMES = ("LoadTimeMs", "BeginTxnTimeMs", "StreamLoadPlanTimeMs", "ReadDataTimeMs", "WriteDataTimeMs", "CommitAndPublishTimeMs")


def _json(body: dict[str, Any], *, close: bool = False) -> Answer:
    return Answer(json.dumps(body, indent=4).encode(), close=close)


def _counts(transaction: Transaction | None) -> dict[str, int]:
    return {
        "NumberTotalRows": transaction.total_rows if transaction else 0,
        "NumberLoadedRows": transaction.loaded_rows if transaction else 0,
        "NumberFilteredRows": transaction.filtered_rows if transaction else 0,
        "NumberUnselectedRows": transaction.unselected_rows if transaction else 0,
        "LoadBytes": transaction.load_bytes if transaction else 0,
    }


def stream_load(
    status: str, message: str, label: str, transaction: Transaction | None = None, *, existing: str = "", request_id: str = ""
) -> Answer:
    """What ``_stream_load`` answers."""
    body: dict[str, Any] = {"TxnId": transaction.id if transaction else -1, "Label": label, "Status": status}
    if existing:
        body["ExistingJobStatus"] = existing
    body |= {"Message": message} | _counts(transaction) | dict.fromkeys(_TIMES, 0)
    if transaction is not None and transaction.error_url:
        body["ErrorURL"] = transaction.error_url
    if request_id:
        body |= {"RequestId": request_id, "LeftTimeMs": 0}
    return _json(body)


def begun(transaction: Transaction) -> Answer:
    """``begin``, done by a backend."""
    fields = {"Label": transaction.label, "TxnId": transaction.id, "BeginTxnTimeMs": 0}
    return _json({"Status": "OK", "Message": ""} | fields)


def received(transaction: Transaction, size: int) -> Answer:
    """``load``."""
    times = {"LoadBytes": size, "StreamLoadPlanTimeMs": 0, "ReceivedDataTimeMs": 0}
    return _json({"Status": "OK", "Message": "", "Label": transaction.label, "TxnId": transaction.id} | times)


def ended(transaction: Transaction) -> Answer:
    """``prepare`` and ``commit``, done by a backend."""
    body = {"Status": "OK", "Message": "", "Label": transaction.label, "TxnId": transaction.id} | _counts(transaction)
    times = ("LoadTimeMs", "StreamLoadPlanTimeMs", "ReceivedDataTimeMs", "WriteDataTimeMs", "CommitAndPublishTimeMs")
    return _json(_with_error_url(body | dict.fromkeys(times, 0), transaction))


def backend(status: str, message: str, label: str, *, existing: str = "", transaction: Transaction | None = None) -> Answer:
    """A step of a transaction that a backend refuses, or has nothing to say about."""
    body: dict[str, Any] = {"Status": status}
    if status == "LABEL_ALREADY_EXISTS":
        body["ExistingJobStatus"] = existing
    if status in ("TXN_IN_PROCESSING", "OK"):
        body["Label"] = label
    body["Message"] = message
    return _json(_with_error_url(body, transaction))


def frontend(status: str, message: str, *, close: bool = False, **entries: object) -> Answer:
    """A step of a transaction that the frontend answers (TransactionResult)."""
    return _json({"Status": status, "Message": message} | entries, close=close)


def rest(message: str = "Success", *, failed: bool = False, **entries: object) -> Answer:
    """Any other answer of the frontend (RestBaseResult)."""
    status, code = ("FAILED", "1") if failed else ("OK", "0")
    return _json({"status": status, "code": code, "msg": message, "message": message if failed else "OK"} | entries)


def unauthorized(message: str) -> Answer:
    """401, with the words in the body."""
    made = rest(message, failed=True)
    return Answer(made.payload, 401, {"WWW-Authenticate": 'Basic realm=""'})


def _with_error_url(body: dict[str, Any], transaction: Transaction | None) -> dict[str, Any]:
    return body | {"ErrorURL": transaction.error_url} if transaction is not None and transaction.error_url else body
