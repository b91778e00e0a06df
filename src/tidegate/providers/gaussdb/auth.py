"""GaussDB's login: the answers to the server's requests, without I/O.

openGauss numbers its requests as PostgreSQL does up to 9 and goes its own way from 10 on, where PostgreSQL's 10 to 12 are SASL
(include/libpq/pqcomm.h: AUTH_REQ_SHA256 10, AUTH_REQ_MD5_SHA256 11, AUTH_REQ_SM3 13, AUTH_REQ_IAM 14). The body of 10 is, in
sendAuthRequest() of its auth.cpp: int32 method, char[64] salt, char[8] token, both hex, then the int32 number of iterations if the
client speaks more than protocol 3.50, or char[64], the server's signature, below it.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

from tidegate.errors import PreflightError

PROTOCOL = 3 << 16 | 51
"""The newest that GaussDB and openGauss know."""

OLD_PROTOCOL = 3 << 16
"""PostgreSQL's, which every GaussDB knows. Under it the server offers MD5 where it has such a password."""

OK, PLAIN, MD5, SHA256, MD5_SHA256, SM3, IAM = 0, 3, 5, 10, 11, 13, 14

_SHA256_PASSWORD = 2
_ITERATIONS = (10_000, 2048)
"""What servers stored passwords with that don't send the number: ITERATION_COUNT of openGauss, and that of older ones."""


@dataclass(frozen=True, slots=True)
class Sha256:
    """The server's challenge. It has either the number of iterations or its own signature."""

    salt: bytes
    token: bytes
    iterations: int | None
    signature: bytes | None

    @classmethod
    def parse(cls, body: bytes) -> Sha256 | None:
        """The challenge in the body of request 10, after its number; None if it is none of a kind known here."""
        try:
            method = int.from_bytes(body[:4], "big")
            salt, token = bytes.fromhex(body[4:68].decode("ascii")), bytes.fromhex(body[68:76].decode("ascii"))
            rest = body[76:]
            if method != _SHA256_PASSWORD or len(salt) != 32 or len(token) != 4:
                return None
            if len(rest) == 4 and (iterations := int.from_bytes(rest, "big")) > 0:
                return cls(salt, token, iterations, None)
            return cls(salt, token, None, bytes.fromhex(rest.decode("ascii"))) if len(rest) == 64 else None
        except ValueError:
            return None

    def proof(self, password: bytes) -> bytes | None:
        """What proves that the client knows the password; None if the server's signature shows that it doesn't."""
        for iterations in _ITERATIONS if self.iterations is None else (self.iterations,):
            key = hashlib.pbkdf2_hmac("sha1", password, self.salt, iterations, 32)
            # «Sever Key» is how openGauss writes it.
            signature = _hmac(_hmac(key, b"Sever Key"), self.token)
            if self.signature is None or hmac.compare_digest(signature, self.signature):
                client_key = _hmac(key, b"Client Key")
                mask = _hmac(hashlib.sha256(client_key).digest(), self.token)
                return bytes(a ^ b for a, b in zip(mask, client_key, strict=True)).hex().encode()
        return None


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def is_sasl(body: bytes) -> bool:
    """Whether request 10 is PostgreSQL's: its body begins with the name of a mechanism, GaussDB's with a small int32."""
    return body[:1] not in (b"", b"\0")


class Login:
    """One login. ``asked``: the server has asked for a password, so that a refusal after it may count as a failed try."""

    def __init__(self, user: str, password: str, name: str) -> None:
        self._user, self._password, self._name = user.encode(), password.encode(), name
        self.asked = False

    def answer(self, request: bytes) -> bytes | None:
        """The text of the password message, None if none is asked for. PreflightError if this request can't be answered."""
        (code,), body = struct.unpack_from("!i", request), request[4:]
        if code == OK:
            return None
        self.asked = True
        if code not in (PLAIN, MD5, SHA256):
            raise self._refused(*_REFUSED.get(code, (f"asks for login method {code}, which tidegate doesn't know", "login")))
        if code == SHA256 and is_sasl(body):
            raise self._refused("asks for SASL, PostgreSQL's login, not GaussDB's: set driver to psycopg2", "driver")
        if not self._password:
            raise self._refused("asks for a password, and there is none", "password")
        if code == PLAIN:
            return self._password
        if code == MD5:
            inner = hashlib.md5(self._password + self._user, usedforsecurity=False).hexdigest().encode()
            return b"md5" + hashlib.md5(inner + body[:4], usedforsecurity=False).hexdigest().encode()
        challenge = Sha256.parse(body)
        if challenge is None:
            raise self._refused("sent a SHA256 login of an unknown form: store the account's password as SHA256", "login")
        proof = challenge.proof(self._password)
        if proof is None:
            raise self._refused("does not know this password: it is wrong, or this is another server", "login, password")
        return proof

    def _refused(self, what: str, setting: str) -> PreflightError:
        return PreflightError(f"the server {what}", connection=self._name, setting=setting)


_REFUSED = {
    # auth.cpp sends it where pg_hba.conf says md5 and the password is stored as SHA256. The server then hashes the stored text
    # with the coded number of iterations at its end (crypt.cpp), which it doesn't send; the vendor's client does without it
    # (fe-auth.cpp).
    # A guess would count as a failed login.
    MD5_SHA256: (
        "asks for MD5 over a SHA256 password (method 11), which not even its own clients can answer: let its pg_hba.conf say "
        "sha256 for this account",
        "login",
    ),
    SM3: (
        "asks for SM3 (method 13), which tidegate doesn't speak: set password_encryption_type to 2 (SHA256), let pg_hba.conf say "
        "sha256 and set the account's password again, or use another account",
        "login",
    ),
    IAM: ("asks for an IAM token (method 14), which tidegate doesn't speak: use an account with a SHA256 password", "login"),
}
