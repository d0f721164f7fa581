"""Names that give nothing away: keyed hashes of users, self-verifying prediction ids."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from serve_app.errors import ForgedPrediction

_NONCE = struct.Struct(">6sHI")  # writer, sequence (48 bits): never used twice with one key
_FACTS = struct.Struct(">Q4s")  # at_ms, rule id; the version and the label follow
_BETWEEN = "\0"


@dataclass(frozen=True, slots=True)
class PredictionId:
    """What a prediction id says about its prediction.

    Attributes:
        writer: 12 hex digits, drawn by each ingress process.
        sequence: Its count, from 1.
        at_ms: Milliseconds since 1970 UTC.
        rule_id: 8 hex digits.
        version: The assigned one.
        label: What was answered.
    """

    writer: str
    sequence: int
    at_ms: int
    rule_id: str
    version: str
    label: str


class Identity:
    """Hashes and ids under one key.

    An id is sealed with ChaCha20-Poly1305 (RFC 8439): nobody without the key can make one, and
    nobody can read the version from one, so that an A/B test stays blind.
    """

    def __init__(self, key: bytes) -> None:
        self._hash_key = blake2b(b"units", key=key, digest_size=32).digest()
        self._cipher = ChaCha20Poly1305(blake2b(b"predictions", key=key, digest_size=32).digest())

    def unit(self, name: str) -> str:
        """Keyed hash of a user or a session, 32 hex digits."""
        return blake2b(name.encode(), key=self._hash_key, digest_size=16).hexdigest()

    def seal(self, prediction: PredictionId) -> str:
        """The id that users see: URL-safe text."""
        nonce = _NONCE.pack(bytes.fromhex(prediction.writer), *divmod(prediction.sequence, 1 << 32))
        facts = _FACTS.pack(prediction.at_ms, bytes.fromhex(prediction.rule_id))
        texts = f"{prediction.version}{_BETWEEN}{prediction.label}".encode()
        sealed = self._cipher.encrypt(nonce, facts + texts, None)
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, prediction_id: str) -> PredictionId:
        """What an id says.

        Raises:
            ForgedPrediction: This key never sealed it.
        """
        try:
            padding = "=" * (-len(prediction_id) % 4)
            data = base64.b64decode(prediction_id + padding, altchars=b"-_", validate=True)
            nonce, sealed = data[: _NONCE.size], data[_NONCE.size :]
            writer, high, low = _NONCE.unpack(nonce)
            facts = self._cipher.decrypt(nonce, sealed, None)
        except (binascii.Error, struct.error, ValueError, InvalidTag) as exc:
            raise ForgedPrediction(
                f"prediction id '{prediction_id[:100]}' was not given out here:"
                " send the prediction_id of an answer of this service"
            ) from exc
        at_ms, rule_id = _FACTS.unpack_from(facts)
        version, _, label = facts[_FACTS.size :].decode().partition(_BETWEEN)
        return PredictionId(writer.hex(), (high << 32) + low, at_ms, rule_id.hex(), version, label)
