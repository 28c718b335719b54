"""Secrets that are told from what looks like one by what their base64 holds."""

from __future__ import annotations

import base64
import binascii

from finetune.data.secrets.confirm import Match, unlike_placeholder


def azure_key(match: Match) -> bool:
    """A connection string's key: base64 of 32 or 64 bytes."""
    try:
        size = len(base64.b64decode(match["value"].partition(b"=")[2], validate=True))
    except binascii.Error:
        return False
    return size in {32, 64} and unlike_placeholder(match)


def discord_token(match: Match) -> bool:
    """A bot's token begins with its number in base64: what else looks like that are names joined by dots."""
    number = match["value"].partition(b".")[0]
    try:
        return base64.urlsafe_b64decode(number + b"=" * (-len(number) % 4)).isdigit()
    except binascii.Error:
        return False


def encoded_private_key(match: Match) -> bool:
    """Base64 of a PEM file, in which there is a private key: most hold certificates."""
    value = match["value"].rstrip(b"=")
    return b"PRIVATE KEY" in base64.b64decode(value[: len(value) // 4 * 4][:120])
