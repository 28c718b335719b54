from __future__ import annotations

import time
from pathlib import Path

import pytest

from finetune.data.headers import licence_of_text
from finetune.data.licences import read_scopes
from finetune.data.named_licences import RESTRICTED
from finetune.data.own_terms import RESERVED, RIGHTS, WORDS, may_state, own_terms, reserves_beside
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
    *(
        f"Copyright 2020 ACME Inc. All rights reserved. {said}"
        for said in (
            "No part of this software may be reproduced, copied or distributed in any form.",
            "contains trade secrets of ACME",
            "This is an unpublished work",
            "must not be distributed outside ACME",
            "shall not be disclosed to anyone",
            "governed by the ACME Terms of Use",
            "governed by the ACME EULA",
            "Use is subject to the ACME terms",
            "Do not copy or distribute.",
            "Do not copy this file.",
            "No rights are granted.",
        )
    ),
]
OF_OTHERS = ("Internal Licence", "Service Agreement", "Source terms", "Terms of Use", "EULA", "ACME terms")
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
    "Copyright 2014 The Pump Authors. Use is governed by a licence that can be found in the LICENSE file.\n\nFor internal use only.",
    *(
        f"Copyright 2024 ACME. {said}"
        for said in (
            "It exists for internal use only.",
            'References: Chapter 7 "Boot Flow"\nCONFIDENTIAL, no public documentation available',
            "An OAuth2 confidential client.",
            "Serves public and non confidential clients.",
            "Buffer must not be modified unless the lock is held. Authorized callers only.",
            "The usage of wildcard imports is forbidden here.",
            "Use of unsafe is prohibited.",
            "Tokens must not be shared with anyone outside the process.",
            "Do not copy the buffer.",
            "The product is not proprietary.",
            "This code must not be used unless the lock is held.",
            "A driver for a proprietary protocol of ACME's proprietary hardware, into proprietary software.",
        )
    ),
]
APACHE_HEAD = """Copyright 2019 ACME. Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at http://www.apache.org/licenses/LICENSE-2.0
Unless required by applicable law or agreed to in writing, software distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and limitations under the License."""
ROOT = read_scopes([("LICENSE", MIT)])
STYLES = {"#": "# {}", "//": "// {}", "*": " * {}", "--": "-- {}"}


def header(text: str, style: str) -> str:
    lines = "".join(STYLES[style].format(line) + "\n" for line in text.splitlines())
    return f"/*\n{lines} */\n" if style == "*" else lines


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("text", TERMS)
def test_a_header_with_terms_of_its_own_is_unknown(text: str, style: str) -> None:
    expected = UNKNOWN if any(said in text for said in OF_OTHERS) else RESERVED
    assert licence_of_text(header(text, style) + "\nint a;\n") == expected


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("text", NO_TERMS)
def test_a_line_of_copyright_or_a_way_to_the_licence_file_states_none(text: str, style: str) -> None:
    assert licence_of_text(header(text, style) + "\nint a;\n") not in (UNKNOWN, RESERVED)


@pytest.mark.parametrize("text", TERMS)
def test_terms_in_code_or_behind_it_are_no_statement(text: str) -> None:
    assert licence_of_text("int a;\n" + header(text, "//")) is None
    assert licence_of_text(f"text = {text!r}\n") is None


@pytest.mark.parametrize("text", TERMS)
def test_a_known_licence_in_the_same_comment_is_the_statement(text: str) -> None:
    assert licence_of_text(header(f"SPDX-License-Identifier: MIT\n{text}", "#")) == "MIT"


@pytest.mark.parametrize("text", TERMS)
def test_terms_in_one_comment_and_a_permissive_licence_in_the_next_both_bind(text: str) -> None:
    for both in (header(text, "*") + header("Licensed under the MIT license.", "*"), header(MIT.decode(), "*") + header(text, "*")):
        stated = ROOT.of_file("a.py", licence_of_text(both))
        assert stated == f"{RESTRICTED} AND MIT"
        assert Licences()(SourceFile(Origin("r", "c", "a.py", stated, repo_license="MIT"), "Python", "x")) == "licence_not_permissive"


def test_a_reservation_in_the_comment_of_a_permissive_licence_binds() -> None:
    said = "Copyright ACME. Licensed under the MIT license."
    assert licence_of_text(header(said, "#")) == "MIT"
    assert licence_of_text(header(MIT.decode(), "#")) == "MIT"
    reserved = "Confidential and proprietary. Unauthorized copying is strictly prohibited."
    assert licence_of_text(header(f"{said}\n{reserved}", "#")) == f"{RESERVED} AND MIT"
    assert licence_of_text(header(f"{reserved}\n{MIT.decode()}", "#")) == f"{RESERVED} AND MIT"
    assert licence_of_text(header(APACHE_HEAD, "#")) == "Apache-2.0", "what a licence says itself is no reservation"
    choice = "Copyright ACME. Licensed under the Apache License, Version 2.0 or the MIT license, at your option."
    choice += "\nThis file may not be copied, modified, or distributed\nexcept according to those terms."
    assert licence_of_text(header(choice, "//")) == "Apache-2.0 OR MIT"


GPL_HEAD = "Copyright 2020 ACME. Licensed under the GNU General Public License, version 2."
HEADS = {"MIT": "Copyright ACME. Licensed under the MIT License.", "Apache-2.0": APACHE_HEAD, "GPL-2.0-only": GPL_HEAD}


@pytest.mark.parametrize("licence", HEADS)
@pytest.mark.parametrize(
    "does",
    [
        "Replaces the proprietary license server.",
        "Converts proprietary software formats to open ones.",
        "Driver for the proprietary code of the vendor; its registers are not documented.",
        "This module prevents unauthorized use.",
        "Prevents unauthorized copying of this file, which is prohibited.",
        "Unauthorized use is logged.",
        "The information is confidential information of the user; encrypt it.",
        "Stores proprietary and confidential information of users.",
        "Keeps what is\nproprietary and confidential.",
        "Confidential clients of OAuth2 are served.",
        "This code contains the proprietary protocol of a vendor.",
        "Proprietary formats are read, too.",
    ],
)
def test_what_code_does_is_no_reservation_beside_a_known_licence(licence: str, does: str) -> None:
    assert licence_of_text(header(f"{HEADS[licence]}\n{does}", "#")) == licence
    assert licence_of_text(header(f"{does}\n{HEADS[licence]}", "//")) == licence


@pytest.mark.parametrize("licence", HEADS)
@pytest.mark.parametrize(
    "said",
    [
        "CONFIDENTIAL",
        "ACME CONFIDENTIAL",
        "Confidential.",
        "Proprietary and confidential",
        "Acme Proprietary and Confidential.",
        "Strictly confidential.",
        "ACME PROPRIETARY/CONFIDENTIAL.",
        "Unauthorized copying of this file, via any medium, is strictly prohibited.",
        "Any unauthorised use is prohibited.",
        "This file is confidential.",
        "This software contains trade secrets of ACME.",
        "This program is proprietary information of ACME.",
        "Proprietary to ACME.",
        "This file may not be copied without written permission of ACME.",
        "No part of this software may be reproduced.",
        "Do not copy this file.",
        "Unpublished work.",
    ],
)
def test_what_is_said_of_the_work_itself_reserves_beside_a_known_licence(licence: str, said: str) -> None:
    for both in (header(f"{HEADS[licence]}\n{said}", "#"), header(f"{said}\n{HEADS[licence]}", "//")):
        assert set(str(licence_of_text(both)).split(" AND ")) == {RESERVED, licence}


def test_terms_without_a_name_reserve() -> None:
    said = "Copyright 2020 ACME, Inc. All rights reserved. ACME PROPRIETARY/CONFIDENTIAL. Use is subject to license terms."
    assert licence_of_text(f"/* {said} */\n") == RESERVED
    assert licence_of_text("// Copyright ACME. Use is subject to the ACME terms.\n") == UNKNOWN


@pytest.mark.parametrize(
    "files, found",
    [
        ([], "MIT"),
        ([("LICENSE", b"All of this is ACME's.")], "MIT"),
        ([("LICENSE", MIT)], f"{RESTRICTED} AND MIT"),
        ([("src/LICENSE", b"Ask us first.")], f"{RESTRICTED} AND MIT"),
    ],
)
def test_a_teams_own_reservation_takes_nothing_from_a_known_licence_beside_it(files: list[tuple[str, bytes]], found: str) -> None:
    said = "Copyright (c) ACME. All rights reserved. Confidential."
    stated = licence_of_text(header(f"{said}\nPortions Copyright (c) Foo, licensed under the MIT License.", "#"))
    assert stated == f"{RESERVED} AND MIT"
    assert read_scopes(files).of_file("src/a.py", stated) == found


def test_a_choice_beside_a_reservation_stays_one() -> None:
    stated = f"(Apache-2.0 OR MIT) AND {RESERVED}"
    assert read_scopes([]).of_file("a.py", stated) == "Apache-2.0 OR MIT"
    assert ROOT.of_file("a.py", stated) == f"(Apache-2.0 OR MIT) AND {RESTRICTED}"
    assert read_scopes([]).of_file("a.py", f"BSD-3-Clause AND {RESERVED} AND MIT") == "BSD-3-Clause AND MIT"


def test_apples_licence_beside_apaches_is_named() -> None:
    apples = "Subject to the Apple Public Source License Version 2.0 (the 'License'). You may not use this file except in\n"
    apples += "compliance with the License."
    assert licence_of_text(header(APACHE_HEAD, "*") + header("Copyright 2011 Apple Inc.\n" + apples, "*")) == "APSL-2.0 AND Apache-2.0"


@pytest.mark.parametrize("text", TERMS)
def test_words_that_are_asked_for_first_stand_in_whatever_is_found(text: str) -> None:
    assert may_state(text.lower()), (RIGHTS, WORDS)


@pytest.mark.parametrize(
    "said",
    [
        *(
            f"You may not copy or use this file without {word}"
            for word in ("permission", "consent", "authorisation", "approval", "a licence")
        ),
        *(
            f"This file may not be copied {word}"
            for word in ("without agreement", "except as permitted", "unless approved", "other than by terms")
        ),
        *("This file must not be disclosed to anybody", "This code must not be distributed to third parties"),
        *("Unauthorised use", "Copying is prohibited", "Any sharing is forbidden", "Transmission of this file is forbidden"),
        *(f"No part of this work may be {word}" for word in ("reproduced", "distributed", "copied", "disclosed", "duplicated")),
        *("No right is granted", "No licence is granted", "Do not copy or share", "Do not copy this code", "Internal use only"),
        *("Proprietary and confidential", "Confidential & proprietary", "proprietary code", "this file is confidential"),
        *(
            "contains trade secrets",
            "strictly confidential",
            "is confidential property",
            "Confidential.",
            "ACME CONFIDENTIAL",
            "unpublished work",
        ),
        *("used under the ACME Agreement", "bound by the ACME EULA", "bound by the ACME Terms", "used under the ACME Licence"),
    ],
)
def test_every_kind_of_terms_is_found_behind_a_line_of_copyright(said: str) -> None:
    assert own_terms(f"Copyright 2020 ACME.\n\n{said}") in (UNKNOWN, RESERVED)


def test_a_comment_without_words_of_rights_is_passed_over() -> None:
    assert own_terms("Copyright ACME. " + TERMS[3])
    assert not own_terms("These values may not be used without permission of the caller.")


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
    origin = Origin("r", "c", "a.py", licence_of_text("# " + TERMS[0].replace("\n", "\n# ") + "\n"), repo_license=root)
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
    assert (
        scopes.of_file("src/a.py", licence_of_text("# Copyright A. Licensed under the Widget Commercial Licence Agreement.\n")) == UNKNOWN
    )
    assert scopes.of_file("src/a.py", "GPL-2.0-only") == "GPL-2.0-only" and scopes.of_file("src/a.py", None) == scopes.of("src/a.py")


def test_a_hostile_comment_takes_no_more_than_a_moment() -> None:
    for piece in (
        "this file may not ",
        "this work a b c may not be ",
        "copy, copied or ",
        "\n",
        "*",
        "ACME ",
        "copying in any ",
        "used under the ",
    ):
        comment = "Copyright: rights and licence terms. " + piece * (4096 // len(piece))
        started = time.process_time()
        own_terms(comment)
        reserves_beside(comment)
        assert time.process_time() - started < 0.5
