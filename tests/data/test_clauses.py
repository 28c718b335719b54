"""A licence whose author changed its words is known by its clauses, and one that asks for more is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from finetune.data.clauses import licences_by_clauses
from finetune.data.headers import licence_of_text
from finetune.data.licences import UNKNOWN, licence_of_file
from finetune.data.policy import permitted
from finetune.data.spdx import is_permissive

MIT = (Path(__file__).parent / "texts" / "mit.txt").read_text()
GRANT = "Redistribution and use in source and binary forms, with or without modification, are permitted provided that:\n\n"
SOURCE = "1. Redistributions of source files must keep any existing copyright notice and this permission notice in its entirety.\n"
BINARY = "2. Redistributions in binary form must reproduce all prior and current copyright notices in the documentation.\n"
NAME = "3. The name of any author may not be used to endorse or promote products derived from this work without their consent.\n"
ADVERTISING = "4. All advertising materials mentioning features of this work must display: This product includes software by Acme.\n"
AS_IS = "\nTHIS WORK IS PROVIDED BY ACME ``AS IS'' AND ANY EXPRESS OR IMPLIED WARRANTIES ARE DISCLAIMED.\n"
OLD = "Permission to use, copy, modify, and distribute this library for any purpose {fee} is hereby granted, provided that the above "
OLD += "copyright notice and this permission notice appear in all copies of it{more}.\n"
NAMELESS = ", and that the name of Acme not be used in advertising or publicity pertaining to distribution of it"
VARIANTS = {
    GRANT + SOURCE: "BSD-1-Clause",
    GRANT + SOURCE + BINARY + AS_IS: "BSD-2-Clause",
    GRANT + SOURCE + BINARY + NAME + AS_IS: "BSD-3-Clause",
    GRANT + SOURCE + BINARY + "3. <deleted>\n" + NAME.replace("3", "4") + AS_IS: "BSD-3-Clause",
    GRANT + SOURCE + BINARY + NAME + ADVERTISING + AS_IS: "BSD-4-Clause",
    MIT.replace("sublicense", "sub license").replace("this permission notice", "this permission notice (and the next paragraph)"): "MIT",
    OLD.format(fee="with or without fee", more="") + AS_IS: "ISC",
    OLD.format(fee="without fee", more=NAMELESS) + AS_IS: "HPND",
    OLD.format(fee="with or without fee", more=NAMELESS) + AS_IS: "NTP",
    "Copying and distribution of this script, with or without modification, are permitted in any medium without royalty provided "
    "the notice is preserved. This script is offered as it is, without warranty of any kind.": "FSFAP",
}
# What stands beside such clauses and asks for more: none of these may be taken for a permissive licence.
MORE = [
    "5. Use or redistribution of this code is disallowed for military purposes.",
    "5. Derived works must be distributed under the terms of the GNU General Public License, version 2.",
    "5. You must make the source code of every derivative work available to all who receive it.",
    "5. Modified versions must carry the same licence as this one.",
    "5. This code shall be used for Good, not Evil.",
    "5. Commercial use requires a separate agreement with Acme.",
    "5. The right to sell the software is not granted.",
    "5. For non-commercial purposes only.",
    "5. It may be used for research and educational purposes.",
    "5. A fee is due for each copy.",
    "5. Everything else is licensed under the MPL.",
]


@pytest.mark.parametrize(("text", "name"), VARIANTS.items(), ids=VARIANTS.values())
def test_a_text_in_other_words_is_known_by_its_clauses(text: str, name: str) -> None:
    text = "Copyright (c) 1994 Acme. All rights reserved.\n" + text
    assert licences_by_clauses(text) == [name]
    assert licence_of_file(text) == name


def test_a_comment_in_other_words_is_known_by_its_clauses() -> None:
    text = GRANT + SOURCE + BINARY + NAME + AS_IS
    assert licence_of_text("/*\n" + "".join(f" * {line}\n" for line in text.splitlines()) + " */\nint x;\n") == "BSD-3-Clause"


# Lines that begin as a clause, a grant, a disclaimer or a line of copyright does, or that ask in other words.
IN_DISGUISE = [
    "5. The software may not be used for commercial purposes unless this notice is kept.",
    "Subject to payment of a licence fee to Acme.",
    "Copyright 2001 Acme, commercial use prohibited.",
    "Copyright 2001 Acme, kommerzielle Nutzung verboten.",
    "Copyright 2001 Acme, \u7981\u6b62\u7528\u4e8e\u5546\u4e1a\u7528\u9014\u3002",
    "5. The software is provided as is for non-profit use only.",
    "5. Acme provides this as is and commercial use is forbidden.",
    "2. Redistributions in binary form must reproduce this notice and must make the complete corresponding source available.",
    "2. Redistributions in binary form must include the complete source code.",
    "1. Redistributions of source code must retain this notice and may not be modified.",
    "1. Redistributions of source code must retain all files of the software without modification.",
    "3. The name of Acme may not be used to endorse products that are sold for a profit.",
    "It may be used for academic purposes.",
    "Users have to publish the changes they make.",
    "You need to give back your changes to Acme.",
    "Selling it is banned.",
    "Kommerzielle Nutzung ist verboten.",
    "\u7981\u6b62\u7528\u4e8e\u5546\u4e1a\u7528\u9014\u3002",
    "Written by members of Acme, for their use.",
]


@pytest.mark.parametrize("more", IN_DISGUISE)
@pytest.mark.parametrize("text", VARIANTS, ids=VARIANTS.values())
def test_no_line_is_harmless_for_its_first_words(text: str, more: str) -> None:
    assert licences_by_clauses(f"{text}\n{more}\n") == []
    assert licences_by_clauses(f"{more}\n\n{text}") == []


@pytest.mark.parametrize(
    "among",
    [
        "are permitted for academic use only provided that",
        "are permitted solely with chips made by Acme provided that",
        "are permitted to members of Acme provided that",
        "are permitted, but not in products, provided that",
    ],
)
def test_a_grant_that_is_narrowed_is_none(among: str) -> None:
    assert licences_by_clauses(GRANT.replace("are permitted provided that", among) + SOURCE + BINARY + NAME + AS_IS) == []


def test_changes_that_are_not_permitted_make_no_bsd_licence() -> None:
    assert licences_by_clauses(GRANT.replace("with or without modification", "without modification") + SOURCE + BINARY) == []


@pytest.mark.parametrize("fee", ["with or without fee", "without fee"])
@pytest.mark.parametrize("more", ["", NAMELESS])
def test_an_old_licence_permits_change_and_sale(fee: str, more: str) -> None:
    whole = OLD.format(fee=fee, more=more) + AS_IS
    for said, instead in (
        ("copy, modify, and distribute this", "copy and distribute unmodified copies of this"),
        ("copy, modify, and distribute this", "copy and distribute this"),
        ("copy, modify, and distribute this", "copy and modify this"),
        ("any purpose", "any purpose except sale"),
        ("any purpose", "any purpose of its owner"),
        ("copies of it", "copies, that it is not sold for profit"),
    ):
        assert said in whole
        assert licences_by_clauses(whole.replace(said, instead)) == []


@pytest.mark.parametrize(
    "beside",
    [
        "Copyright (c) 1994, 1995 J\u00f6rg M\u00fcller <j@acme.example>. All rights reserved.",
        "Written by Jane Doe.",
        "The New BSD License",
        "This code is derived from software contributed to Acme by Jane Doe.",
        "This library is distributed in the hope that it will be useful, but without any warranty.",
    ],
)
def test_owners_titles_and_disclaimers_ask_nothing(beside: str) -> None:
    assert licences_by_clauses(f"{beside}\n\n{GRANT}{SOURCE}{BINARY}{NAME}{AS_IS}") == ["BSD-3-Clause"]


@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("text", VARIANTS, ids=VARIANTS.values())
def test_no_clause_that_asks_for_more_is_passed_over(text: str, more: str) -> None:
    assert licences_by_clauses(f"{text}\n{more}\n") == []
    assert licences_by_clauses(f"{more}\n\n{text}") == []


def test_redistribution_without_a_word_on_changes_is_no_bsd_licence() -> None:
    assert licences_by_clauses(GRANT.replace(", with or without modification,", "") + SOURCE + BINARY) == []


@pytest.mark.parametrize(
    "beside",
    [
        "The packaging is licensed under the GPL, see the file GPL.",
        "Parts are distributed under the terms of the GNU General Public License, version 2.",
        "Its programs are licensed under version 2 or later of the GNU General Public License.",
        "The documents are subject to the Mozilla Public License 1.1.",
    ],
)
def test_a_binding_licence_that_is_named_beside_a_permissive_text_is_not_lost(beside: str) -> None:
    for text in (f"{MIT}\n{beside}", f"{beside}\n\n{MIT}"):
        found = licence_of_file(text)
        assert found == UNKNOWN or not permitted(found, is_permissive)


def test_a_binding_licence_that_may_be_chosen_instead_does_not_bind() -> None:
    found = licence_of_file(
        f"{MIT}\nAlternatively, this may be distributed under the terms of the GNU General Public License, version 2.\n"
    )
    assert found == "MIT OR GPL-2.0-only"
    assert permitted(found, is_permissive)


def test_what_a_licence_says_of_others_under_the_gpl_binds_nobody() -> None:
    assert licence_of_file(MIT + "\nIt can be combined with software that is released under the GPL; that is all this says.\n") == "MIT"


@pytest.mark.parametrize(
    "piece",
    [
        "name not ",
        "name not endorse ",
        "redistribution of source must retain ",
        "this notice and ",
        "or the use of ",
        "copyright acme ",
        "by acme ",
    ],
)
def test_the_time_grows_no_faster_than_the_text(piece: str) -> None:
    """Twice the text took eight times as long where a pattern had three gaps: 65 times at four times the length."""

    def seconds(length: int) -> float:
        text = f"{piece * (length // len(piece))}. permission to use x"
        begin = time.process_time()
        for _ in range(12_000 // length):
            licences_by_clauses(text)
        return time.process_time() - begin

    assert seconds(11_600) < 8 * seconds(1_450) + 0.05
