"""A licence that a comment or a short file only names."""

from __future__ import annotations

import time

import pytest

from finetune.data.headers import licence_of_text
from finetune.data.licences import UNKNOWN, licence_of_file
from finetune.data.named_licences import licences_named, with_binding
from finetune.data.policy import permitted
from finetune.data.spdx import categories, expression_in, is_permissive

# A file with such a comment used to count as the owner's own, and copyleft code was kept.
NAMED = {
    "This program is licensed under the terms of the GNU General Public License, version 2.": "GPL-2.0-only",
    "Released under the GNU GPL version 2 or later": "GPL-2.0-or-later",
    "under the terms of version 2 of the GNU General Public License": "GPL-2.0-only",
    "Licensed under the GPLv3": "GPL-3.0-only",
    "License: GPLv2+": "GPL-2.0-or-later",
    "License: GPL-2.0+": "GPL-2.0-or-later",
    "The licence is GPL v3 or (at your option) any later version": "GPL-3.0-or-later",
    "This is free software, licensed under the GNU GPL.": "GPL-1.0-or-later",
    "under the terms of the GNU General Public License as published by the Free Software Foundation; either version 2": "GPL-2.0-only",
    "governed by the GNU Affero General Public License v3 that can be found in LICENSE": "AGPL-3.0-only",
    "License: LGPL": "LGPL-2.0-or-later",
    "under version 2.1 of the GNU Lesser General Public License": "LGPL-2.1-only",
    "under the terms of the GNU Free Documentation License, Version 1.3 or any later version": "GFDL-1.3-or-later",
    "Subject to the Mozilla Public License 2.0": "MPL-2.0",
    "licensed under the Mozilla Public License, v. 1.1": "MPL-1.1",
    "License: EPL-1.0": "EPL-1.0",
    "Distributed under the MIT license": "MIT",
    "License = ISC": "ISC",
    "Licensed under the New BSD License": "BSD-3-Clause",
    "available under the 2-clause BSD license": "BSD-2-Clause",
    "Licensed by the team under the Apache License": "Apache-2.0",
    "licensed under either the MIT license or the Apache License 2.0": "MIT OR Apache-2.0",
    "Dual licensed under the MIT and GPL licenses.": "MIT OR GPL-1.0-or-later",
    "under the GPL version 2 and the MIT license": "GPL-2.0-only AND MIT",
    "License: GPL-2.0-or-later": "GPL-2.0-or-later",
    "License: LGPL-2.1-or-later": "LGPL-2.1-or-later",
    "License: AGPL-3.0-only": "AGPL-3.0-only",
    "license: GPLv2-or-later": "GPL-2.0-or-later",
    "License: MIT-0": "MIT-0",
    "License: BSD-3-Clause-Clear": "BSD-3-Clause-Clear",
    "License: MPL 1.1/GPL 2.0/LGPL 2.1": "MPL-1.1 OR GPL-2.0-only OR LGPL-2.1-only",
    "You may not use this file except under the terms of the GNU GPL, version 2.": "GPL-2.0-only",
    "You may not use this file except under the terms of the MIT license.": "MIT",
    "may not be redistributed in any form, except under the GPL.": "GPL-1.0-or-later",
    "There is NO WARRANTY, licensed under the GPL version 3.": "GPL-3.0-only",
    "There is no warranty of any kind for what is released under the MIT license": "MIT",
    "licensed under BSD and GPL": "GPL-1.0-or-later",
    "licensed under the BSD or the GPL v2": "GPL-2.0-only",
    "licensed under the Ruby license or the GPL v2": "GPL-2.0-only",
    "This file is part of foo, which is licensed under the GPL version 2.": "GPL-2.0-only",
    "@license: MIT-license": "MIT",
    "Licensed MIT © Zeno Rocha": "MIT",
    "License: Dual MIT/GPL": "MIT OR GPL-1.0-or-later",
    "Released under MIT; see the licence file": "MIT",
    "Released under Apache 2, see LICENSE": "Apache-2.0",
    "Made available under the terms of ISC; see the licence file": "ISC",
    "Distributed under MIT or Apache-2.0, whichever licence you like": "MIT OR Apache-2.0",
    # Whether later versions may be taken, said before the name.
    "released under the terms of version 2 (or later) of the GNU General Public License": "GPL-2.0-or-later",
    "under version 2 or (at your option) any later version of the GNU General Public License": "GPL-2.0-or-later",
    "under the terms of version 2 or any later version of the GPL license": "GPL-2.0-or-later",
    "released under version 2, or later, of the GPL": "GPL-2.0-or-later",
    "released under version 2.1+ of the LGPL": "LGPL-2.1-or-later",
    "released under version 3 or newer of the GPL": "GPL-3.0-or-later",
    "released under version 2 or version 3 of the GPL": "GPL-2.0-only",
    # Names of other licences.
    "Licensed under the EUPL, version 1.2": "EUPL-1.2",
    "licensed under the European Union Public Licence 1.1": "EUPL-1.1",
    "License: CeCILL 2.1": "CECILL-2.1",
    "License: CDDL": "CDDL-1.0",
    "under the terms of the Common Development and Distribution License, version 1.1": "CDDL-1.1",
    "Distributed under the Boost Software License, Version 1.0": "BSL-1.0",
    "licensed under the Artistic License 2.0": "Artistic-2.0",
    "License: OSL 3.0": "OSL-3.0",
    "License: ECL 2.0": "ECL-2.0",
    "License: Ms-RL": "MS-RL",
    "Licensed under the SIL Open Font License, Version 1.1": "OFL-1.1",
    "licensed under the Server Side Public License": "SSPL-1.0",
    "Licensed under the Business Source License 1.1": "BUSL-1.1",
    "License: CC0": "CC0-1.0",
    "@license MIT": "MIT",
    "@license Apache-2.0": "Apache-2.0",
    "@license GPL-3.0-only": "GPL-3.0-only",
    # Creative Commons: a part that binds counts wherever the sentence says it.
    "License: CC BY 4.0": "CC-BY-4.0",
    "Licensed under a Creative Commons Attribution 4.0 International License": "CC-BY-4.0",
    "License: CC BY-SA 3.0": "CC-BY-SA-3.0",
    "License: CC-BY-NC-SA-4.0": "CC-BY-NC-SA-4.0",
    "License: CC BY 4.0 NC": "CC-BY-NC-4.0",
    "License: CC BY 4.0 International, Non-Commercial": "CC-BY-NC-4.0",
    "Creative Commons (CC) license: Creative Commons (CC) BY-SA 4.0": "CC-BY-SA-4.0",
    "under the Creative Commons Attribution and Share Alike 3.0 license": "CC-BY-SA-3.0",
    "under the Creative Commons Attribution 3.0 and Share-Alike license": "CC-BY-SA-3.0",
    "under a Creative Commons Attribution-NonCommercial-NoDerivs license": "CC-BY-NC-ND-4.0",
}
NOT_NAMED = [
    "This code is not under the GNU General Public License, version 2",
    "no licence: neither under the GPL nor under another",
    "Written by MIT. See the license below.",
    "Code by MIT students; see the license",
    "License: MITRE",
    "license: BSD (see LICENSE)",
    "signed by Apache 2.0 servers with a license key",
    "under the same terms as Perl itself; see its license",
    "a GPLv2 licensed library is called, see COPYING",
    "the license server runs under the ISCSI target",
    "Config for running under Apache 2. See LICENSE",
    "This module runs under Apache. Proprietary license.",
    "Developed under MIT Lincoln Laboratory contract, see the license",
    "Distributed under MIT Lincoln Laboratory rules; see the license",
    "depends on foo, which is licensed under the MIT license. All rights reserved.",
    "available for servers running under Apache 2. See LICENSE",
    "This is not, and never was, under the MIT license",
    "License: MIT-like",
    "License: Apache-style",
    "licensed under a GPL-compatible license",
    "licensed under an MIT style license",
    "licensed under Foo and MIT",
    "available under MIT-licensed names; see the license",
    "This file isn't licensed under the MIT license",
    "We don't release it under the GPL version 2; see the license",
]


@pytest.mark.parametrize("said", NAMED)
def test_a_licence_that_a_comment_names_is_the_files(said: str) -> None:
    lines = said.replace(" License", "\n# License")
    for text in (f"# {said}\n\nx = 1\n", f"/*\n * {said}\n */\nint x;\n", f"# {lines}\n\nx = 1\n"):
        assert licence_of_text(text) == NAMED[said]
    assert licence_of_text(f"x = 1\n# {said}\n") is None, "only before the code"


@pytest.mark.parametrize("said", NOT_NAMED)
def test_what_only_speaks_of_licences_names_none(said: str) -> None:
    assert licence_of_text(f"# {said}\n\nx = 1\n") is None


def test_a_short_licence_file_may_name_its_licence_and_a_long_page_may_not() -> None:
    said = "This project is licensed under the MIT license.\n"
    assert licence_of_file(said) == "MIT"
    assert licence_of_file(said + "Words about something else, and more of them. " * 40) == UNKNOWN


def test_what_is_named_is_an_spdx_expression() -> None:
    for expression in NAMED.values():
        assert expression_in(expression) == expression
        assert all(name.lower() in categories() for name in expression.replace("OR", "AND").split(" AND "))


# A name beside MIT's text: what a file says that it is under as well binds, and what it offers instead does not.
BESIDE = {
    "The docs are licensed under the MPL 2.0.": ["MIT", "MPL-2.0"],
    "The docs are licensed under the EPL.": ["MIT", "EPL-2.0"],
    "Its images are licensed under CC BY-SA 4.0.": ["MIT", "CC-BY-SA-4.0"],
    "Its images are licensed under CC BY-NC 4.0.": ["MIT", "CC-BY-NC-4.0"],
    "One folder is licensed under the EUPL.": ["MIT", "EUPL-1.2"],
    "One folder is licensed under the CDDL.": ["MIT", "CDDL-1.0"],
    "The server is licensed under SSPL-1.0.": ["MIT", "SSPL-1.0"],
    "Released under the terms of version 2 (or later) of the GNU General Public License.": ["MIT", "GPL-2.0-or-later"],
    "The file gpl.c is licensed under the GPL version 2. Dual-core chips run it faster.": ["MIT", "GPL-2.0-only"],
    "The file gpl.c is licensed under the GPL version 2.\n\nDisputes follow the choice of law of Utah.": ["MIT", "GPL-2.0-only"],
    "The option parser is licensed under the GPL version 2.": ["MIT", "GPL-2.0-only"],
    "Either file is licensed under the GPL version 2.": ["MIT", "GPL-2.0-only"],
    "a.c is under version 2 or, at your option, any later version of the GPL, b.c is under the LGPL.": [
        "MIT",
        "GPL-2.0-or-later",
        "LGPL-2.0-or-later",
    ],
    "gpl.c is licensed under the GPL version 2, and b.c under the LGPL version 2.1. Alternatively, ask us for help.": [
        "MIT",
        "GPL-2.0-only",
        "LGPL-2.1-only",
    ],
    "This includes gpl.c, which is licensed under the GPL version 2.": ["MIT", "GPL-2.0-only"],
    "It may be used under the licence above or, at your option, under the terms of the GNU General Public License version 2.": [
        "MIT OR GPL-2.0-only"
    ],
    "It may be used under either the above licence or under the GPL.": ["MIT OR GPL-1.0-or-later"],
    "Alternatively, it may be distributed under the terms of the GPL version 2.": ["MIT OR GPL-2.0-only"],
    "Earlier versions were licensed under the GPL.": ["MIT"],
    "It needs foo, which is licensed under the GPL.": ["MIT"],
    "The tests are licensed under the Apache License 2.0.": ["MIT"],
}


@pytest.mark.parametrize("said", BESIDE)
def test_a_choice_is_looked_for_in_the_sentence_of_the_name(said: str) -> None:
    assert with_binding(["MIT"], f"{said}\n\nPermission is hereby granted.\n") == BESIDE[said]
    assert with_binding(["MIT"], f"Permission is hereby granted.\n\n{said}\n") == BESIDE[said]


def test_a_known_licence_that_binds_is_left_as_it_is() -> None:
    assert with_binding(["GPL-2.0-only"], "The docs are licensed under the MPL 2.0.") == ["GPL-2.0-only"]
    assert with_binding([], "The docs are licensed under the MPL 2.0.") == []


def test_a_hostile_comment_takes_no_more_than_its_length() -> None:
    for piece in (
        "under the ",
        "under the terms of the terms of ",
        "license: GPL or ",
        "GPL, ",
        "under the GPL (",
        "under either ",
        "licensed under a ",
        "licensed ",
        "released ",
        "under version 2 or ",
        "license: CC BY 4.0 ",
        "alternatively under the GPL ",
    ):
        started = time.process_time()
        licences_named(piece * (4096 // len(piece)))
        with_binding(["MIT"], piece * (4096 // len(piece)))
        assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "licensed under the MIT license for non-commercial use only",
        "Licensed under the MIT license, for noncommercial purposes.",
        "This code is licensed under the MIT license except for commercial use.",
        "Released under the Apache License, Version 2.0,\nfor academic and research use only",
        "Licensed under the Apache License 2.0 with the Commons Clause.",
        "License: BSD-3-Clause (no commercial use)",
    ],
)
def test_a_permissive_name_whose_sentence_takes_it_back_is_not_believed(text: str) -> None:
    assert licences_named(text) == ["LicenseRef-restricted"]
    expression = licence_of_text("".join(f"# {line}\n" for line in text.splitlines()) + "\nprint(1)\n")
    assert expression == "LicenseRef-restricted" and not permitted(expression, is_permissive)
    assert with_binding(["MIT"], text) == ["MIT", "LicenseRef-restricted"]


@pytest.mark.parametrize(
    "text",
    [
        "Distributed under the MIT license, which permits commercial and non-commercial use.",
        "licensed under the MIT license. Our courses are for personal use only.",
        "Licensed under the MIT license\n\nFor academic use, cite the paper.",
    ],
)
def test_what_is_said_of_something_else_takes_nothing_back(text: str) -> None:
    assert licences_named(text) == ["MIT"]
