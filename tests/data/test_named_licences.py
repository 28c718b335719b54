"""A licence that a comment or a short file only names."""

from __future__ import annotations

import time

import pytest

from finetune.data.headers import licence_of_text
from finetune.data.licences import UNKNOWN, licence_of_file
from finetune.data.named_licences import licences_named
from finetune.data.spdx import categories, expression_in

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
    ):
        started = time.process_time()
        licences_named(piece * (4096 // len(piece)))
        assert time.process_time() - started < 0.5
