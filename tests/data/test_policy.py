from __future__ import annotations

import pytest
from pydantic import ValidationError

from finetune.data.licences import UNKNOWN
from finetune.data.policy import Licences
from finetune.records import Change, Origin, SourceFile


def reason(licence: str | None, *, of_repository: str | None = None, policy: Licences | None = None) -> str | None:
    origin = Origin("r", "c", "lib/a.py", licence, repo_license=of_repository)
    found = {(policy or Licences())(item) for item in (SourceFile(origin, "Python", "x"), Change(origin, "Python", "Do it", "a", "b"))}
    assert len(found) == 1  # files and changes are told the same
    return found.pop()


# What BigCode's permissive list says of an expression, and the algebra of SPDX over it.
TABLE = {
    "MIT": None,
    "mit": None,
    "Apache-2.0": None,
    "Unlicense": None,
    "CC0-1.0": None,
    "BSD-3-Clause AND ISC": None,
    "GPL-3.0-only": "licence_not_permissive",
    "GPL-2.0+": "licence_not_permissive",
    "AGPL-3.0-or-later": "licence_not_permissive",
    "LGPL-2.1-only": "licence_not_permissive",
    "MPL-2.0": "licence_not_permissive",
    "MIT AND GPL-2.0-only": "licence_not_permissive",
    "MIT OR GPL-2.0-only": None,
    "GPL-2.0-only OR (MIT AND LGPL-2.1-only)": "licence_not_permissive",
    "(GPL-2.0-only OR MIT) AND (LGPL-2.1-only OR ISC)": None,
    "GPL-2.0-only WITH Classpath-exception-2.0": "licence_not_permissive",
    "Apache-2.0 WITH LLVM-exception": None,
    f"{UNKNOWN} AND MIT": None,
    f"{UNKNOWN} AND GPL-2.0-only": "licence_not_permissive",
    f"{UNKNOWN} OR MIT": None,
    UNKNOWN: "licence_unknown",
    f"{UNKNOWN} AND {UNKNOWN}": "licence_not_permissive",
    "LicenseRef-Corp": "licence_not_permissive",
    "CC-BY-NC-4.0": "licence_not_permissive",
    "BUSL-1.1": "licence_not_permissive",
    "MIT AND": "licence_not_permissive",
    "no such thing": "licence_not_permissive",
}


@pytest.mark.parametrize("expression", TABLE)
def test_the_default_policy_keeps_what_is_permissive(expression):
    assert reason(expression, of_repository="Apache-2.0") == TABLE[expression]


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "LicenseRef-Corp", UNKNOWN])
def test_own_code_stays_whatever_its_licence_and_copyleft_brought_in_goes(licence):
    assert reason(licence, of_repository=licence) is None
    assert reason(licence, of_repository="MIT") is not None
    assert reason(licence, of_repository=None) is not None
    assert reason(licence, of_repository=licence, policy=Licences(own=False)) is not None


# What a header says, what the licence file at the root says, and whether the one falls under the other.
UNDER = [
    ("GPL-3.0-or-later", "GPL-3.0", True),  # the header that the GPL itself asks for, beside the GPL's own text
    ("GPL-3.0-only", "GPL-3.0", True),
    ("GPL-2.0+", "GPL-2.0-only", True),
    ("AGPL-3.0-or-later", "AGPL-3.0-only", True),
    ("LGPL-2.1-or-later", "LGPL-3.0-only", True),  # a later version is the reader's choice
    ("GPL-3.0-or-later AND MIT", "GPL-3.0", True),
    ("GPL-3.0-or-later WITH GCC-exception-3.1", "GPL-3.0", True),
    ("MPL-2.0", "MPL-2.0 OR GPL-2.0-only", True),
    ("GPL-2.0-only", "GPL-3.0", False),
    ("GPL-3.0-or-later", "GPL-2.0", False),
    ("LGPL-3.0-or-later", "GPL-3.0", False),
    ("AGPL-3.0-or-later", "GPL-3.0", False),
    ("GPL-3.0-or-later AND MPL-2.0", "GPL-3.0", False),
    ("MPL-2.0", "MPL-2.0 AND GPL-2.0-only", False),
]


@pytest.mark.parametrize(("header", "root", "under"), UNDER)
def test_a_header_falls_under_the_licence_at_the_root_in_whichever_words(header: str, root: str, under: bool) -> None:
    assert (reason(header, of_repository=root) is None) == under
    assert reason(header, of_repository=root, policy=Licences(own=False)) is not None
    assert reason(header, of_repository=root, policy=Licences(deny=(header.split(maxsplit=1)[0],))) == "licence_denied"


def test_unlicensed_code_is_own_code_unless_told_otherwise():
    assert reason(None) is None
    assert reason(None, policy=Licences(unlicensed=False)) == "unlicensed"


def test_named_licences_go_before_all_else():
    assert reason("MPL-2.0", policy=Licences(allow=("mpl-2.0",))) is None
    assert reason("LicenseRef-Corp", policy=Licences(allow=("LicenseRef-Corp",))) is None
    assert reason("MIT AND MPL-2.0", policy=Licences(allow=("MPL-2.0",))) is None
    assert reason("MIT", policy=Licences(deny=("MIT",))) == "licence_denied"
    assert reason("MIT", of_repository="MIT", policy=Licences(deny=("MIT",))) == "licence_denied"
    assert reason("MIT OR ISC", policy=Licences(deny=("MIT",))) is None
    assert reason("MIT AND ISC", policy=Licences(deny=("MIT",))) == "licence_denied"


def test_any_licence_can_be_kept_but_for_those_denied():
    assert reason("GPL-3.0-only", policy=Licences(keep="any")) is None
    assert reason("GPL-3.0-only", policy=Licences(keep="any", deny=("GPL-3.0-only",))) == "licence_denied"


def test_a_misspelt_identifier_is_an_error_with_the_right_one():
    with pytest.raises(ValidationError, match=r"'Apache2' is none; did you mean Apache-2\.0\?"):
        Licences(allow=("Apache2",))
