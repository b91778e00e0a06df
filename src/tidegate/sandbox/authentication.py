"""How a sandbox asks a client for its password: MD5 as PostgreSQL does, SHA256 as GaussDB and openGauss do."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from typing import Protocol

from tidegate.sandbox.wire import Channel, Gone, message, string

ITERATIONS = 10_000
"""What GaussDB uses unless ``auth_iteration_count`` says otherwise."""


class Authentication(Protocol):
    """One way of asking."""

    denied: str
    """What a client hears whose password is wrong; ``{user}`` is its name."""

    def admits(self, client: Channel, user: str, password: str, minor: int) -> bool:
        """Ask a client that speaks protocol 3.``minor``, and say whether it knows the password."""
        ...


class Md5:
    """PostgreSQL's MD5 exchange."""

    def __init__(self, denied: str = 'password authentication failed for user "{user}"') -> None:
        self.denied = denied

    def admits(self, client: Channel, user: str, password: str, minor: int) -> bool:
        salt = secrets.token_bytes(4)
        client.send(message(b"R", struct.pack("!i", 5) + salt))
        inner = hashlib.md5(password.encode() + user.encode()).hexdigest()
        wanted = "md5" + hashlib.md5(inner.encode() + salt).hexdigest()
        return hmac.compare_digest(_answer(client).encode(), wanted.encode())


class GaussSha256:
    """openGauss's exchange: it has SASL's code 10, but a body of its own (src/common/backend/libpq/auth.cpp there).

    The server sends a salt and a token; the client proves that it knows SHA256(ClientKey)'s origin, as in SCRAM, with PBKDF2 over
    HMAC-SHA1.
    """

    denied = "Invalid username/password,login denied."

    def admits(self, client: Channel, user: str, password: str, minor: int) -> bool:
        salt, token = secrets.token_hex(32), secrets.token_hex(4)
        salted = hashlib.pbkdf2_hmac("sha1", password.encode(), bytes.fromhex(salt), ITERATIONS, 32)
        client_key = _hmac(salted, b"Client Key")
        body = struct.pack("!ii", 10, 2) + salt.encode() + token.encode()
        if minor > 50:
            body += struct.pack("!i", ITERATIONS)
        else:
            # Older clients know the number of iterations, and check the server by its signature.
            body += _hmac(_hmac(salted, b"Sever Key"), bytes.fromhex(token)).hex().encode()
        client.send(message(b"R", body))
        stored = hashlib.sha256(client_key).digest()
        pad = _hmac(stored, bytes.fromhex(token))
        try:
            proof = bytes.fromhex(_answer(client))
        except ValueError:
            return False
        if len(proof) != len(pad):
            return False
        shown = bytes(left ^ right for left, right in zip(proof, pad, strict=True))
        return hmac.compare_digest(hashlib.sha256(shown).digest(), stored)


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def _answer(client: Channel) -> str:
    reply = client.read()
    if reply.kind != b"p":
        raise Gone("no answer to the password request")
    return string(reply.body if reply.body.endswith(b"\0") else reply.body + b"\0")[0]
