"""Prediction ids: encrypted and authenticated, so that clients can neither read nor forge them."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from serve_app.errors import InvalidPredictionId

_NONCE = struct.Struct(">6sHI")  # writer, sequence (48 bits): unique per key
_FIELDS = struct.Struct(">Q4s")  # at_ms, rule id; then the version and the label
_SEPARATOR = "\0"


@dataclass(frozen=True, slots=True)
class PredictionId:
    """The content of a prediction id.

    Attributes:
        writer: 12 hex digits, random for each ingress process.
        sequence: The writer's sequence number, from 1.
        at_ms: Of the prediction, milliseconds since 1970 UTC.
        rule_id: 8 hex digits.
        version: The assigned version.
        label: The predicted label.
    """

    writer: str
    sequence: int
    at_ms: int
    rule_id: str
    version: str
    label: str


class PredictionIdCodec:
    """Encodes and decodes prediction ids under one key.

    An id is encrypted with ChaCha20-Poly1305 (RFC 8439). Without the key, clients can neither
    create nor read one, so an A/B test stays blind.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(blake2b(b"predictions", key=key, digest_size=32).digest())

    def encode(self, prediction: PredictionId) -> str:
        """The id for clients: URL-safe base64 text."""
        nonce = _NONCE.pack(bytes.fromhex(prediction.writer), *divmod(prediction.sequence, 1 << 32))
        fields = _FIELDS.pack(prediction.at_ms, bytes.fromhex(prediction.rule_id))
        texts = f"{prediction.version}{_SEPARATOR}{prediction.label}".encode()
        ciphertext = self._cipher.encrypt(nonce, fields + texts, None)
        return base64.urlsafe_b64encode(nonce + ciphertext).rstrip(b"=").decode()

    def decode(self, prediction_id: str) -> PredictionId:
        """The content of an id.

        Raises:
            InvalidPredictionId: It was not encoded with this key.
        """
        try:
            padding = "=" * (-len(prediction_id) % 4)
            data = base64.b64decode(prediction_id + padding, altchars=b"-_", validate=True)
            nonce, ciphertext = data[: _NONCE.size], data[_NONCE.size :]
            writer, high, low = _NONCE.unpack(nonce)
            fields = self._cipher.decrypt(nonce, ciphertext, None)
        except (binascii.Error, struct.error, ValueError, InvalidTag) as exc:
            raise InvalidPredictionId(
                f"prediction id '{prediction_id[:100]}' is not from this service:"
                " send the prediction_id of one of its responses"
            ) from exc
        at_ms, rule_id = _FIELDS.unpack_from(fields)
        version, _, label = fields[_FIELDS.size :].decode().partition(_SEPARATOR)
        return PredictionId(writer.hex(), (high << 32) + low, at_ms, rule_id.hex(), version, label)
