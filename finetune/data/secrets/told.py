"""Values that tell what they are, and are no secret: dates, spans of time, versions, and where a secret is to be looked up."""

from __future__ import annotations

import re

from finetune.data.secrets.confirm import looks_random

_TIME = rb"[Tt_]\d\d:?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?(?:[Zz]|[+-]\d\d:?\d\d)?"
_DATE = rb"\d{4}(?P<sign>[-/.]?)\d\d(?P=sign)\d\d(?:" + _TIME + rb")?|\d\d[./-]\d\d[./-]\d{4}"
_SPAN = rb"(?:\d{1,9}(?:\.\d{1,9})?(?:[dhmswy]|ms|us|ns)){1,6}|P(?:\d{1,6}[DMWY]){0,4}(?:T(?:\d{1,6}(?:\.\d{1,9})?[HMS]){1,3})?"
_STAGE = (
    rb"(?:(?i:rc|alpha|beta|dev|pre|preview|post|snapshot|nightly|canary|final|release|stable|lts|ga|build|generic|alpine|slim|jre|jdk)"
    rb"|[abcmpM])\d{0,8}"
)
_TAIL = rb"(?:" + _STAGE + rb")?(?:[-+.](?:" + _STAGE + rb"|\d{1,14}(?:-[0-9a-f]{12})?|g[0-9a-f]{7,40})|\+[0-9a-f]{7,40}){0,4}"
_RELEASE = rb"[vV]?\d{1,8}(?:\.\d{1,8}){1,3}" + _TAIL
_TOOLS = rb"(?:[a-z]{1,20}(?:[@:/]|-(?=[vV]))){0,3}"  # admin-2024.10 is as good a password
_PLACE = rb"[a-z][a-z0-9]{1,19}(?:\+[a-z0-9]{1,20})?:(?://)?[\w.-]{1,100}(?:/[\w.-]{1,100}){1,12}(?:#[\w.-]{1,100})?"
_VERSIONED = re.compile(rb"(?:[a-z]{1,20}[-@:/]){0,3}" + _RELEASE)
_TOLD = re.compile(rb"|".join((_DATE, _SPAN, _TOOLS + _RELEASE)))
_PLACED = re.compile(_PLACE)
_PARTS = re.compile(rb"[:/#]+")


def is_version(value: bytes) -> bool:
    """A release's number, with its tool before it or its stage behind it: v1.2.3-rc4, image:1.2."""
    return _VERSIONED.fullmatch(value) is not None


def is_told(value: bytes) -> bool:
    """A date, a span of time, a version, or a path to a store of secrets: vault:kv/app#password. No part of a path is drawn at random."""
    if _TOLD.fullmatch(value):
        return True
    return _PLACED.fullmatch(value) is not None and not any(map(looks_random, _PARTS.split(value)))
