"""One client's connection: its statements go upstream as the dialect rewrites them, the answers come back as if for its own.

What was sent upstream is kept in a queue of the answers it will have. So the proxy knows which answers are the client's, which
belong to statements of its own (lookups, what runs before and after), and when the server skips to the next Sync.
"""

from __future__ import annotations

import itertools
import logging
import select
import socket
from collections import deque
from collections.abc import Sequence

from tidegate.sandbox import wire
from tidegate.sandbox.dialect import Dialect, Refused, Rewritten
from tidegate.sandbox.replies import LookupFailed, Plan, Plans, Reply, Row, Step, own_statement, row
from tidegate.sandbox.sqltext import code, split
from tidegate.sandbox.wire import Channel, Gone, Message, message, text

_log = logging.getLogger(__name__)

_FLUSH, _SYNC = message(b"H"), message(b"S")
_REFUSAL = "tidegate_refusal_"


class Session:
    """The message pump. ``upstream`` has been started up and is ready for its first query."""

    def __init__(self, client: Channel, upstream: Channel, dialect: Dialect) -> None:
        self._client, self._upstream, self._dialect = client, upstream, dialect
        self._expected: deque[Reply] = deque()
        self._out = bytearray()
        self._state = b"I"
        self._skipping = False
        self._extended = False
        self._failure: bytes | None = None
        self._refusals: dict[str, Refused] = {}
        self._numbers = itertools.count(1)
        self._statements = Plans()
        self._portals = Plans()
        self._deferred: tuple[str, ...] = ()
        self._tag = self._count = b""
        self._wanted = ""

    def run(self) -> None:
        """Serve the client until one side has gone; :class:`Gone` says which way."""
        while True:
            while not self._client.ready():
                for channel in wire.readable(self._client, self._upstream):
                    channel.fill()
                self._drain()
                self._flush()
            self._take(self._client.read())

    # What the client sends

    def _take(self, sent: Message) -> None:
        kind = sent.kind
        if kind == b"X":
            self._upstream.send(bytes(sent))
            raise Gone("the client has said goodbye")
        if kind == b"Q":
            self._extended = False
            self._query(wire.string(sent.body)[0])
        elif kind == b"F":
            self._send(bytes(sent), Reply("query", steps=deque([Step("own")])))
            self._settle()
        elif kind in b"PBDECHS":
            self._extended = True
            self._extended_message(sent)
        elif kind not in b"dcf":
            raise Gone(f"a message of type {kind!r}")

    def _query(self, sql: str) -> None:
        """A simple Query: its statements, rewritten, go upstream as one string, which keeps them one implicit transaction."""
        try:
            pieces, steps = self._rewrite_all(split(sql))
        except LookupFailed as failed:
            self._out += message(b"E", failed.body) + message(b"Z", self._state)
            self._flush()
            return
        # The line break ends a comment that may be last.
        joined = "\n;\n".join(pieces) if pieces else sql
        self._send(message(b"Q", text(joined)), Reply("query", steps=steps))
        self._settle()

    def _rewrite_all(self, statements: Sequence[str]) -> tuple[list[str], deque[Step]]:
        pieces: list[str] = []
        steps: deque[Step] = deque()
        for statement in statements:
            new = self._rewrite(statement)
            pieces += [*new.before, new.statement, *new.after]
            steps += [*(Step("before") for _ in new.before), Step("own", new.tag), *(Step("after") for _ in new.after)]
        return pieces, steps

    def _rewrite(self, statement: str) -> Rewritten:
        try:
            return self._dialect.rewrite(statement, self)
        except Refused as refused:
            return Rewritten(self._refusal(refused))
        except (LookupFailed, Gone):
            raise
        except Exception as defect:
            _log.exception("the sandbox failed on a statement")
            return Rewritten(self._refusal(Refused("XX000", f"the sandbox failed on this statement: {defect!r}")))

    def _refusal(self, refused: Refused) -> str:
        """A statement that fails upstream as the refused one does: in the parser or later. So the transaction fails by itself."""
        name = f"{_REFUSAL}{next(self._numbers)}_"
        self._refusals[name] = refused
        return name if refused.sqlstate == "42601" else f"SELECT {name}()"

    def _extended_message(self, sent: Message) -> None:
        if sent.kind == b"S":
            self._skipping = False
            self._send(bytes(sent), Reply("sync"))
            self._settle()
        elif self._skipping:
            return
        elif sent.kind == b"H":
            self._send(bytes(sent))
            self._settle()
        elif sent.kind == b"P":
            self._parse(sent.body)
        elif sent.kind == b"B":
            portal, at = wire.string(sent.body)
            self._portals.keep(portal, self._statements.get(wire.string(sent.body, at)[0]))
            self._send(bytes(sent), Reply("bind"))
        elif sent.kind == b"E":
            self._execute(sent)
        else:
            name = wire.string(sent.body, 1)[0]
            if sent.kind == b"C":
                (self._statements if sent.body[:1] == b"S" else self._portals).pop(name, None)
            self._send(bytes(sent), Reply("close" if sent.kind == b"C" else "describe"))

    def _parse(self, body: bytes) -> None:
        name, at = wire.string(body)
        sql, end = wire.string(body, at)
        found = split(sql)
        plan: Plan | None = None
        if len(found) == 1:
            try:
                new = self._rewrite(found[0])
            except LookupFailed as failed:
                self._out += message(b"E", failed.body)
                self._flush()
                return
            if self._skipping:
                return
            sql = new.statement
            if new.before or new.after or new.tag:
                plan = Plan(new, copy=code(sql)[0].word("copy"))
        self._statements.keep(name, plan)
        self._send(message(b"P", text(name, sql) + body[end:]), Reply("parse"))

    def _execute(self, sent: Message) -> None:
        plan = self._portals.get(wire.string(sent.body)[0])
        if plan is None:
            self._send(bytes(sent), Reply("execute"))
            return
        new = plan.rewritten
        for statement in new.before:
            self._inject(statement)
        self._send(bytes(sent), Reply("execute", tag=new.tag, held=bool(new.after)))
        if plan.copy:
            # They are COPY's data until the client has said that there are no more.
            self._deferred = new.after
        else:
            self._inject_after(new.after)

    def _inject_after(self, statements: Sequence[str]) -> None:
        for number, statement in enumerate(statements, 1):
            self._inject(statement, releases=number == len(statements))

    def _inject(
        self, sql: str, params: Sequence[str | None] = (), *, rows: list[Row] | None = None, releases: bool = False
    ) -> None:
        """Send a statement of our own; its answers stay here."""
        for data, reply in own_statement(sql, params, rows, releases=releases):
            self._send(data, reply)

    def rows(self, sql: str, params: Sequence[str | None] = ()) -> list[Row]:
        """Query the client's own session (see :class:`~tidegate.sandbox.dialect.Lookup`)."""
        if self._expected:
            self._send(_FLUSH)
            self._settle()
        if self._skipping:
            return []
        found: list[Row] = []
        self._failure = None
        self._inject(sql, params, rows=found)
        if self._extended:
            self._send(_FLUSH)
        else:
            self._send(_SYNC, Reply("sync", swallow=True))
        self._settle()
        if self._failure is not None:
            raise LookupFailed(self._failure)
        return found

    # What the server sends

    def _send(self, data: bytes, *replies: Reply) -> None:
        """Send upstream, and read meanwhile: a server that waits for us to read would never read itself."""
        self._expected += replies
        view = memoryview(data)
        while view:
            reading, writing, _ = select.select([self._upstream], [self._upstream], [])
            if writing:
                try:
                    view = view[self._upstream.sock.send(view, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    continue
                except OSError as cause:
                    self._last_words()
                    raise Gone(str(cause)) from cause
            elif reading:
                self._upstream.fill()

    def _last_words(self) -> None:
        """Pass on why the server has gone, if it said so."""
        while True:
            try:
                self._upstream.fill()
            except Gone:
                break
        self._drain()
        self._flush()

    def _settle(self) -> None:
        """Read until everything that was sent has its answer. A client that goes meanwhile is noticed."""
        watched = True
        while self._expected:
            self._drain()
            if not self._expected:
                break
            self._flush()
            if self._upstream.ready():
                continue
            channels = [self._upstream, self._client] if watched else [self._upstream]
            found = wire.readable(*channels)
            if self._upstream in found:
                self._upstream.fill()
            elif self._client.hung_up():
                raise Gone("the client has gone")
            else:
                watched = False
        self._flush()

    def _drain(self) -> None:
        while self._upstream.ready():
            if self._expected and not self._expected[0].swallow and not self._in_side_step():
                self._out += self._upstream.run(b"D") + self._upstream.run(b"d")
            if len(self._out) >= wire.PIECE:
                self._flush()
            if self._upstream.ready():
                self._answer(self._upstream.read())

    def _in_side_step(self) -> bool:
        steps = self._expected[0].steps
        return bool(steps) and steps[0].role != "own"

    def _flush(self) -> None:
        if self._out:
            data, self._out = bytes(self._out), bytearray()
            self._client.send(data)

    def _answer(self, got: Message) -> None:
        kind = got.kind
        if kind in b"NA" or not self._expected:
            self._out += bytes(got)
        elif kind == b"S":
            self._out += wire.status(got, self._dialect.server_version)
        elif kind == b"E":
            self._failed(got)
        elif kind == b"Z":
            self._state = got.body
            self._refusals.clear()
            if not self._expected.popleft().swallow:
                self._out += bytes(got)
        elif self._expected[0].kind == "query":
            self._query_answer(got, self._expected[0])
        else:
            self._extended_answer(got, self._expected[0])

    def _failed(self, got: Message) -> None:
        head = self._expected[0]
        body = self._reworded(got.body)
        self._deferred = ()
        if head.rows is not None:
            self._failure = body
        else:
            self._out += message(b"E", body)
        if head.kind in ("query", "sync"):
            return
        while self._expected and self._expected[0].kind != "sync":
            self._expected.popleft()
        self._skipping = not self._expected

    def _reworded(self, body: bytes) -> bytes:
        found = wire.fields(body)
        for name, refused in self._refusals.items():
            if name in found.get("M", ""):
                return wire.error("ERROR", refused.sqlstate, refused.message, detail=refused.detail, hint=refused.hint)[5:]
        return body

    def _query_answer(self, got: Message, reply: Reply) -> None:
        steps = reply.steps
        step = steps[0] if steps else Step("own")
        if got.kind not in b"CI":
            if step.role == "own":
                self._out += bytes(got)
                if got.kind == b"G":
                    self._copy_in()
            return
        if steps:
            steps.popleft()
        more = bool(steps) and steps[0].role == "after"
        if step.role == "own":
            self._tag = got.body
            self._count = b""
            reply.tag = step.tag
        elif step.role == "after":
            self._note_count(got.body)
        if step.role != "before" and not more:
            self._out += self._completed(got.kind, reply.tag)

    def _extended_answer(self, got: Message, head: Reply) -> None:
        kind = got.kind
        ends = {"parse": b"1", "bind": b"2", "close": b"3", "describe": b"Tn", "execute": b"CIs"}.get(head.kind, b"")
        if kind in ends:
            self._expected.popleft()
        if head.kind == "execute" and kind in b"CIs":
            if head.held:
                self._tag, self._count = got.body, b""
                self._wanted = head.tag
                return
            if head.releases:
                self._note_count(got.body)
                self._out += self._completed(b"C", self._wanted)
                return
            if head.swallow:
                self._note_count(got.body)
                return
            if head.tag:
                self._tag, self._count = got.body, b""
                self._out += self._completed(kind, head.tag)
                return
        if head.swallow:
            if kind == b"D" and head.rows is not None:
                head.rows.append(row(got.body))
            return
        self._out += bytes(got)
        if kind == b"G":
            # In copy-in mode the server ignores the Sync that some clients send along with Execute.
            self._expected = deque([head])
            self._copy_in()

    def _note_count(self, tag: bytes) -> None:
        """Remember a statement's row count, if it has one."""
        number = tag.rstrip(b"\0").rpartition(b" ")[2]
        if number.isdigit():
            self._count = number

    def _completed(self, kind: bytes, wanted: str) -> bytes:
        return message(kind, text(wanted.replace("{rows}", self._count.decode() or "0")) if wanted else self._tag)

    def _copy_in(self) -> None:
        """Pass the client's rows on, in pieces as large as they come."""
        self._flush()
        while True:
            piece = self._client.run(b"d")
            if piece:
                self._send(piece)
                continue
            if not self._client.ready():
                self._client.fill()
                continue
            sent = self._client.read()
            if sent.kind in b"cf":
                self._send(bytes(sent))
                break
            if sent.kind == b"X":
                raise Gone("the client has gone within a COPY")
            if sent.kind not in b"HS":
                self._send(bytes(sent))
                break
        after, self._deferred = self._deferred, ()
        if self._extended:
            self._inject_after(after)
            self._send(_FLUSH)
