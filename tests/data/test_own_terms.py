from __future__ import annotations

from pathlib import Path

import pytest

from finetune.data.headers import licence_of_text
from finetune.data.licences import read_scopes
from finetune.data.own_terms import states_own_terms
from finetune.data.policy import Licences
from finetune.data.spdx import UNKNOWN
from finetune.records import Origin, SourceFile

MIT = (Path(__file__).parent / "texts" / "mit.txt").read_bytes()
TERMS = [
    "Copyright 2024 ACME. All rights reserved.\nLicensed under the ACME Internal Licence, version 3.",
    "Copyright (c) 2020 ACME Corp. This file may not be copied or distributed without written permission of ACME.",
    "(c) ACME Ltd. CONFIDENTIAL AND PROPRIETARY. Do not share.",
    "ACME CONFIDENTIAL\nUnpublished work. Copyright 2019 ACME.",
    "Copyright 2021 ACME. Unauthorized copying of this file, via any medium, is strictly prohibited.",
    "Copyright ACME. No part of this software may be reproduced or used except as authorized by contract.",
    "Copyright 1997 ACME Microsystems, Inc. Use is subject to license terms.",
    "Copyright 2022 ACME. This program contains trade secrets of ACME; proprietary information.",
    "© ACME. For internal use only. All rights reserved.",
    "Copyright (c) ACME\nThe use of this software is governed by the ACME Master Service Agreement.",
    "Copyright ACME. You may not use this file except in compliance with the ACME Source terms.",
    "Copyright ACME. Reproduction, modification and distribution are prohibited without consent.",
]
NO_TERMS = [
    "Copyright 2024 ACME. All rights reserved.",
    "Copyright (c) 2024 The Pump Authors. See the LICENSE file for details.",
    "Copyright 2024 ACME.\nUse of this source code is governed by a licence that can be found in the LICENSE file.",
    "Copyright 2024 ACME. Licensed under the license found in the LICENSE file in the root directory of this source tree.",
    "Copyright 2024 ACME. This file is distributed under the same license as the PACKAGE package.",
    "Copyright 2024 ACME. For the license information refer to pump.h.",
    "Copyright 2024 ACME. Distributed under the terms in COPYING.",
    "Copyright 2024 ACME. Licensed under a BSD-style license.",
    "Copyright 2024 ACME. This file is distributed under the Vim License.",
    "Copyright 2024 ACME. Licensed under your choice of the ACME Available License 2.0 or the Server Side Public License v1 (SSPLv1).",
    "Copyright 2024 ACME. It may be distributed under the conditions of the LaTeX Project Public License.",
    "Copyright 2024 ACME. The name of ACME may not be used in advertising the work without permission.",
    "Copyright 2024 ACME. Licensed to the Pump Foundation under a Contributor Agreement.",
    "Checks that a licence key may not be used without permission.",
    "Shows the licence agreement and asks for the user's consent.",
    "Hides confidential and proprietary fields of a form.",
    "Copyright 2024 ACME. Reads permissions; a user without permission is sent to the login page.",
    "Copyright 2024 ACME. This library is distributed in the hope that it will be useful, but without any warranty.",
]
STYLES = {"#": "# {}", "//": "// {}", "*": " * {}", "--": "-- {}"}


def header(text: str, style: str) -> str:
    lines = "".join(STYLES[style].format(line) + "\n" for line in text.splitlines())
    return f"/*\n{lines} */\n" if style == "*" else lines


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("text", TERMS)
def test_a_header_with_terms_of_its_own_is_unknown(text: str, style: str) -> None:
    assert licence_of_text(header(text, style) + "\nint a;\n") == UNKNOWN


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("text", NO_TERMS)
def test_a_line_of_copyright_or_a_way_to_the_licence_file_states_none(text: str, style: str) -> None:
    assert licence_of_text(header(text, style) + "\nint a;\n") != UNKNOWN


@pytest.mark.parametrize("text", TERMS)
def test_terms_in_code_or_behind_it_are_no_statement(text: str) -> None:
    assert licence_of_text("int a;\n" + header(text, "//")) is None
    assert licence_of_text(f"text = {text!r}\n") is None


@pytest.mark.parametrize("text", TERMS)
def test_a_known_licence_in_the_same_comment_is_the_statement(text: str) -> None:
    assert licence_of_text(header(f"SPDX-License-Identifier: MIT\n{text}", "#")) == "MIT"
    assert licence_of_text(header(text, "*") + header("Licensed under the MIT license.", "*")) == f"{UNKNOWN} AND MIT"


def test_a_comment_without_words_of_rights_is_passed_over() -> None:
    assert states_own_terms("Copyright ACME. " + TERMS[3])
    assert not states_own_terms("These values may not be used without permission of the caller.")


@pytest.mark.parametrize(
    "policy, root, reason",
    [
        (Licences(), None, "licence_unknown"),
        (Licences(), "MIT", "licence_unknown"),
        (Licences(), UNKNOWN, None),
        (Licences(own=False), UNKNOWN, "licence_unknown"),
        (Licences(allow=(UNKNOWN,)), None, None),
        (Licences(allow=(UNKNOWN,)), "MIT", None),
        (Licences(keep="any", deny=(UNKNOWN,)), None, "licence_denied"),
        (Licences(keep="any"), None, None),
    ],
)
def test_the_policy_decides_what_becomes_of_terms_of_ones_own(policy: Licences, root: str | None, reason: str | None) -> None:
    origin = Origin("r", "c", "a.py", licence_of_text("# " + TERMS[2] + "\n"), repo_license=root)
    assert policy(SourceFile(origin, "Python", "x")) == reason


@pytest.mark.parametrize(
    "files, found",
    [
        ([], None),
        ([("sdk/LICENSE", b"Ask us first.")], None),
        ([("LICENSE", MIT)], UNKNOWN),
        ([("src/LICENSE", MIT)], UNKNOWN),
        ([("LICENSE", b"All of this is ACME's.")], UNKNOWN),
    ],
)
def test_a_reservation_under_no_licence_is_the_teams_own(files: list[tuple[str, bytes]], found: str | None) -> None:
    scopes = read_scopes(files)
    assert scopes.of_file("src/a.py", licence_of_text("# " + TERMS[2] + "\n")) == found
    assert scopes.of_file("src/a.py", "GPL-2.0-only") == "GPL-2.0-only" and scopes.of_file("src/a.py", None) == scopes.of("src/a.py")
