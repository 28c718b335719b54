from __future__ import annotations

import time
from pathlib import Path

import pytest

from finetune.data.headers import licence_of_text
from finetune.data.licences import UNKNOWN, is_licence_file, is_named_for_a_licence, is_notice_file, licence_of_file, read_scopes
from finetune.data.own_terms import RESERVED

TEXTS = Path(__file__).parent / "texts"
MIT = (TEXTS / "mit.txt").read_bytes()
APACHE = (TEXTS / "apache.txt").read_bytes()
NOTICE = """Copyright (C) 2008 Someone

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License."""


@pytest.mark.parametrize(
    "path",
    [
        "LICENSE",
        "LICENSE.txt",
        "license.md",
        "LICENCE",
        "COPYING",
        "COPYING.LESSER",
        "sub/LICENSE-MIT",
        "UNLICENSE",
        "Licenses.txt",
        "LICENSE-2.0",
    ],
)
def test_a_licence_file_is_known_by_its_name(path):
    assert is_licence_file(path)


@pytest.mark.parametrize(
    "path",
    [
        "licence.py",
        "license_checker.go",
        "LICENSES/MIT.txt",
        "LICENSES/LICENSE",
        "licenses/COPYING",
        "LICENSE-third-party.txt",
        "README.md",
        "a/LICENSE/b.py",
        "no_license",
    ],
)
def test_other_names_are_no_licence(path):
    assert not is_licence_file(path)


@pytest.mark.parametrize(
    "path", ["MIT-LICENSE", "GPL-LICENSE.txt", "GPL.txt", "gpl-3.0.txt", "LGPLv2.1", "LEGAL", "BSD", "jquery.license.md", "LICENSE"]
)
def test_a_file_may_be_named_for_its_licence(path):
    assert is_named_for_a_licence(f"lib/{path}")


@pytest.mark.parametrize("path", ["summit.txt", "THIRD_PARTY_LICENSES", "dependency-licenses.txt", "mit.py", "licenses/MIT.txt", "limits"])
def test_other_names_do_not_hold_the_licence_of_their_folder(path):
    assert not is_named_for_a_licence(f"lib/{path}")


def test_a_file_named_for_a_licence_counts_where_it_holds_one():
    scopes = read_scopes([("LICENSE", MIT), ("lib/apache-license.txt", APACHE), ("lib/apache.conf", b"Listen 80"), ("x/GPL.txt", b"gone")])
    assert [scopes.of(path) for path in ("a.c", "lib/a.c", "x/a.c")] == ["MIT", "Apache-2.0", "MIT"]
    offer = b"This text is dual-licensed."
    assert read_scopes([("LICENSE", MIT), ("x/about-legal.txt", offer)]).of("x/a.c") == "MIT"


@pytest.mark.parametrize(
    ("line", "licence"),
    [
        ("# SPDX-License-Identifier: MIT\n", "MIT"),
        ("/* SPDX-License-Identifier: GPL-2.0-only */\n", "GPL-2.0-only"),
        ("<!-- SPDX-License-Identifier: Apache-2.0 -->\n", "Apache-2.0"),
        ("// SPDX-License-Identifier: (MIT OR Apache-2.0) AND BSD-3-Clause\n", "(MIT OR Apache-2.0) AND BSD-3-Clause"),
        (
            "# SPDX-License-Identifier: GPL-2.0-or-later WITH Classpath-exception-2.0 and then words\n",
            "GPL-2.0-or-later WITH Classpath-exception-2.0",
        ),
        ("# SPDX-License-Identifier: LicenseRef-Corp see the wiki\n", "LicenseRef-Corp"),
        ("# SPDX-License-Identifier: MIT\n# SPDX-License-Identifier: GPL-2.0-only\n", "GPL-2.0-only AND MIT"),
        ("# SPDX-License-Identifier: MIT OR ISC\n# SPDX-License-Identifier: Zlib\n", "(MIT OR ISC) AND Zlib"),
        ("# SPDX-License-Identifier: MIT and GPL-2.0-only\n", "MIT AND GPL-2.0-only"),
        ("# SPDX-License-Identifier: MIT or (GPL-2.0+ with Classpath-exception-2.0)\n", "MIT OR (GPL-2.0+ WITH Classpath-exception-2.0)"),
        ("# SPDX-License-Identifier: MIT/GPL-2.0\n", "MIT OR GPL-2.0"),
        ("/* SPDX-License-Identifier: MIT*/\n", "MIT"),
        ("# SPDX-License-Identifier: MIT // see below\n", "MIT"),
        ("# SPDX-License-Identifier:\n", None),
        ("# SPDX-License-Identifier: \n", None),
        ('x = "SPDX-License-Identifier: " + name\n', None),
        ("// SPDX-License-Identifier: {{ licence }}\n", None),
        ("# SPDX-License-Identifier: <SPDX id>\n", None),
        ('re.compile(r"SPDX-License-Identifier: (.*)")\n', None),
        ('re.compile("SPDX-License-Identifier: ([A-Z]+)")\n', None),
        ("# Adds SPDX-License-Identifier: tags to files.\n# SPDX-License-Identifier: MIT\n", "MIT"),
        ("# SPDX-License-Identifier: Proprietary\n", "Proprietary"),
        ("x = 'nothing stated'\n", None),
        ("license = 'a word in code'\n", None),
    ],
)
def test_a_file_states_its_licence_by_a_tag(line, licence):
    assert licence_of_text(line + "x = 1\n") == licence


@pytest.mark.parametrize(
    "header",
    [
        "".join(f"# {line}\n" for line in NOTICE.split("\n")),
        "#!/bin/sh\n" + "".join(f"# {line}\n" for line in NOTICE.split("\n")),
        "".join(f"// {line}\n" for line in NOTICE.split("\n")),
        "/*\n" + "".join(f" * {line}\n" for line in NOTICE.split("\n")) + " */\n",
        "<!--\n" + NOTICE + "\n-->\n",
        '"""\n' + NOTICE + '\n"""\n',
    ],
)
def test_a_notice_in_the_first_comment_is_read_in_any_comment_style(header):
    assert licence_of_text(header + "\nclass A {}\n") == "Apache-2.0"


BLOCK = "/*\n" + "".join(f" * {line}\n" for line in NOTICE.split("\n")) + " */\n"


@pytest.mark.parametrize(
    "header",
    [
        "<?php\n" + BLOCK,
        "<?php " + BLOCK,
        "'use strict';\n" + BLOCK,
        '"use client"\n\n' + BLOCK,
        "package a;\n\n" + BLOCK,
        "#pragma once\n" + BLOCK,
        "#ifndef A_H\n#define A_H\n\n#include <b.h>\n" + BLOCK,
        "/* eslint-disable */\n" + BLOCK,
        "/* a.c: adds. */ " + BLOCK,
        "/* a.c */\n" + "".join(f"// {line}\n" for line in NOTICE.split("\n")),
        f'<?xml version="1.0"?>\n<!--\n{NOTICE}\n-->\n',
        f"<!DOCTYPE html>\n<html lang='en'>\n<!--\n{NOTICE}\n-->\n",
        f'#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n"""\n{NOTICE}\n"""\n',
        f"--[[\n{NOTICE}\n--]]\n",
        f"(*\n{NOTICE}\n*)\n",
        f"{{-\n{NOTICE}\n-}}\nmodule A where\n",
        f"=begin\n{NOTICE}\n=end\n",
        "".join(f"! {line}\n" for line in NOTICE.split("\n")),
        "".join(f"' {line}\n" for line in NOTICE.split("\n")),
        "".join(f"#= {line}\n" for line in NOTICE.split("\n")),
    ],
)
def test_a_notice_is_read_in_every_comment_before_the_code(header):
    assert licence_of_text(header + "\nint a;\n") == "Apache-2.0"


def test_a_notice_without_the_word_licence_is_one():
    hpnd = """/* Copyright (c) 1994 Hewlett-Packard Company
 *
 * Permission to use, copy, modify, distribute and sell this software
 * and its documentation for any purpose is hereby granted without fee,
 * provided that the above copyright notice appear in all copies and
 * that both that copyright notice and this permission notice appear
 * in supporting documentation.  Hewlett-Packard Company makes no
 * representations about the suitability of this software for any
 * purpose.  It is provided "as is" without express or implied warranty.
 */
"""
    assert licence_of_text(BLOCK + hpnd) == "Apache-2.0 AND HPND-sell-variant"


def test_a_notice_that_names_no_licence_is_two_fifths_of_its_comment_or_none() -> None:
    notice = MIT.decode()

    def comment(share: float) -> str:
        words = len(notice.split())
        lines = ["what this file is for and who wrote it"] * round(words * (1 / share - 1) / 9)
        return "/*\n" + "\n".join([*lines, notice]) + "\n*/\n"

    assert licence_of_text(comment(0.47)) == "MIT"
    assert licence_of_text(comment(0.33)) is None


def test_notices_in_several_comments_all_hold():
    mit = "/*\n" + MIT.decode() + "*/\n"
    assert licence_of_text(mit + BLOCK + "int a;\n") == "Apache-2.0 AND MIT"
    assert licence_of_text(mit + "int a;\n" + BLOCK) == "MIT"


@pytest.mark.parametrize(
    "opening", ["/*", "<!--", '"""', "(*", "#|", "=begin\n", "#!", "<?", "<!doctype ", "package ", "\n", "# a\n", "//"]
)
def test_a_head_of_openings_without_an_end_takes_no_long_time(opening):
    started = time.process_time()
    licence_of_text(opening * 2000 + " license")
    licence_of_text(f"{opening} license {opening * 600}\nint a;" * 3)
    assert time.process_time() - started < 0.5


def test_a_licence_quoted_in_code_is_no_statement():
    assert licence_of_text("import x\n\nTEXT = '''" + MIT.decode() + "'''\n") is None


def test_a_licence_file_without_a_known_text_is_unknown_not_absent():
    assert licence_of_file("Copyright Corp. All rights reserved.") == UNKNOWN
    assert licence_of_file(MIT.decode()) == "MIT"
    assert licence_of_file(APACHE.decode()) == "Apache-2.0"


def test_the_nearest_folder_decides():
    scopes = read_scopes([("LICENSE", MIT), ("a/b/COPYING", APACHE), ("c/LICENSE", b"Ask us first.")])
    assert [scopes.of(path) for path in ("x.py", "a/x.py", "a/b/c/x.py", "c/x.py")] == ["MIT", "MIT", "Apache-2.0", UNKNOWN]
    assert read_scopes([("c/LICENSE", MIT)]).of("x.py") is None


def test_a_change_falls_under_the_unknown_terms_of_either_version():
    other = "LicenseRef-restricted"
    for root, stated, found in [
        ([("LICENSE", MIT)], (UNKNOWN, "MIT"), f"{other} AND MIT"),
        ([("LICENSE", MIT)], (RESERVED, None), f"{other} AND MIT"),
        ([], (UNKNOWN, None), UNKNOWN),
        ([], (RESERVED, None), None),
        ([], (RESERVED, "MIT"), None),
        ([("LICENSE", b"gone")], (UNKNOWN, "MIT"), f"{UNKNOWN} AND MIT"),
        ([("LICENSE", b"gone")], (UNKNOWN, "GPL-2.0-only"), f"GPL-2.0-only AND {UNKNOWN}"),
    ]:
        scopes = read_scopes(root)
        assert {scopes.of_versions("a.py", order) for order in (stated, stated[::-1])} == {found}


def test_a_page_about_the_licence_is_no_licence_of_its_folder():
    assert read_scopes([("LICENSE", MIT), ("docs/license.md", b"# License\n\nSee below.")]).of("docs/a.md") == "MIT"


def test_two_licence_files_ask_for_both_unless_their_names_offer_a_choice():
    assert read_scopes([("LICENSE-MIT", MIT), ("LICENSE-APACHE", APACHE)]).of("a.rs") == "Apache-2.0 OR MIT"
    assert read_scopes([("LICENSE", MIT), ("COPYING", APACHE)]).of("a.c") == "Apache-2.0 AND MIT"
    assert read_scopes([("LICENSE", MIT), ("COPYING", MIT)]).of("a.c") == "MIT"
    assert read_scopes([("LICENSE-MIT", MIT), ("LICENSE-APACHE", b"gone")]).of("a.rs") == f"{UNKNOWN} OR MIT"


OFFER = b"This project is dual-licensed under the Unlicense and MIT licenses.\n\nYou may use this code under the terms of either license.\n"


def test_a_file_that_offers_a_choice_makes_the_licences_beside_it_one():
    assert read_scopes([("COPYING", OFFER), ("LICENSE", MIT), ("LICENSE.apache", APACHE)]).of("a.rs") == "Apache-2.0 OR MIT"
    assert read_scopes([("a/LICENSE-MIT", MIT), ("a/UNLICENSE", APACHE)]).of("a/a.rs") == "Apache-2.0 OR MIT"
    assert read_scopes([("COPYING", OFFER)]).of("a.rs") == UNKNOWN
    ours = b"Ask us. " * 600 + b"Either licence ends when the other does."
    assert read_scopes([("COPYING", ours), ("LICENSE", MIT)]).of("a.rs") == f"{UNKNOWN} AND MIT"


def test_a_notice_speaks_for_a_folder_that_has_no_licence_file():
    notice = b"Tool\nCopyright 2008 Someone\n\n" + NOTICE.encode()
    scopes = read_scopes([("v/NOTICE", notice), ("w/NOTICE.txt", b"Copyright Corp"), ("u/LICENSE", MIT), ("u/NOTICE", notice)])
    assert [scopes.of(path) for path in ("v/a.c", "w/a.c", "u/a.c")] == ["Apache-2.0", None, "MIT"]
    assert [is_notice_file(path) for path in ("a/NOTICE", "notice.md", "notice.py", "NOTICES")] == [True, True, False, False]
    assert scopes.own is None
    assert read_scopes([("LICENSE", MIT), ("v/LICENSE", APACHE)]).own == "MIT"
