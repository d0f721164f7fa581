"""Prediction ids: encrypted and authenticated, so that clients can neither read nor forge them."""

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


class PredictionIdCodec:
    """Encodes and decodes prediction ids under one key.

    An id is encrypted with ChaCha20-Poly1305 (RFC 8439). Without the key it can neither be made nor
    read, so an A/B test stays blind.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(blake2b(b"predictions", key=key, digest_size=32).digest())

    def encode(self, prediction: PredictionId) -> str:
        """The id that clients see: URL-safe text."""
        nonce = _NONCE.pack(bytes.fromhex(prediction.writer), *divmod(prediction.sequence, 1 << 32))
        facts = _FACTS.pack(prediction.at_ms, bytes.fromhex(prediction.rule_id))
        texts = f"{prediction.version}{_BETWEEN}{prediction.label}".encode()
        ciphertext = self._cipher.encrypt(nonce, facts + texts, None)
        return base64.urlsafe_b64encode(nonce + ciphertext).rstrip(b"=").decode()

    def decode(self, prediction_id: str) -> PredictionId:
        """The content of an id.

        Raises:
            ForgedPrediction: It was not made with this key.
        """
        try:
            padding = "=" * (-len(prediction_id) % 4)
            data = base64.b64decode(prediction_id + padding, altchars=b"-_", validate=True)
            nonce, ciphertext = data[: _NONCE.size], data[_NONCE.size :]
            writer, high, low = _NONCE.unpack(nonce)
            facts = self._cipher.decrypt(nonce, ciphertext, None)
        except (binascii.Error, struct.error, ValueError, InvalidTag) as exc:
            raise ForgedPrediction(
                f"prediction id '{prediction_id[:100]}' was not given out here:"
                " send the prediction_id of an answer of this service"
            ) from exc
        at_ms, rule_id = _FACTS.unpack_from(facts)
        version, _, label = facts[_FACTS.size :].decode().partition(_BETWEEN)
        return PredictionId(writer.hex(), (high << 32) + low, at_ms, rule_id.hex(), version, label)
