from __future__ import annotations

from pathlib import Path

import pytest

from finetune.data.classifier import known
from finetune.data.licences import UNKNOWN, licence_of_file
from finetune.data.likeness import STRANGE, licence_alike
from finetune.data.variants import finer

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify,
merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to
do so, subject to the following conditions: The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""
NAME_CLAUSE = "\nExcept as contained in this notice, the name of ACME shall not be used in advertising or otherwise to promote the sale,\n"
NAME_CLAUSE += "use or other dealings in this Software without prior written authorization."


def between(text: str, sign: str, put: str) -> str:
    before, found, after = text.partition(sign)
    assert found
    return f"{before}{found} {put} {after}"


def words_of(licence: str) -> str:
    """A known text as the classifier has it: its words in order, those that it leaves open left out."""
    scanner, automaton = known().scanner, known().automaton
    place = scanner.ids.index(licence)
    begins = automaton.ends[place - 1] + 1
    return " ".join(scanner.dict.list[number] for number in automaton.wanted[begins : automaton.ends[place]] if number >= 0)


APACHE = (Path(__file__).parent / "texts" / "apache.txt").read_text()
SHARE_ALIKE = words_of("CC-BY-SA-2.5")
PLACE = "licensor hereby grants you"


@pytest.mark.parametrize("put", ["Lorem", "Lorem ipsum", "pump"])
def test_a_text_with_a_strange_word_or_two_is_still_the_licence(put: str) -> None:
    assert licence_alike(between(SHARE_ALIKE, PLACE, put)) == ["CC-BY-SA-2.5"]
    assert licence_alike(SHARE_ALIKE.replace(PLACE, put)) == ["CC-BY-SA-2.5"]


def test_a_permissive_licence_is_not_told_by_likeness() -> None:
    assert licence_of_file(APACHE) == "Apache-2.0"
    assert licence_alike(APACHE) == licence_alike(words_of("Unlicense")) == licence_alike(words_of("BSL-1.0")) == []


@pytest.mark.parametrize(
    "put",
    [
        "Lorem ipsum dolor",
        "not",
        "noncommercial",
        "only members",
        "commercial",
        "for private use",
        "The Software shall be used for good, not evil.",
        "Companies with more than ten employees pay a fee.",
    ],
)
def test_a_word_that_may_ask_or_three_strange_ones_make_another_text_of_it(put: str) -> None:
    assert licence_alike(between(SHARE_ALIKE, PLACE, put)) == []
    assert STRANGE == 2


def test_a_part_of_a_licence_is_not_it() -> None:
    disclaimer = SHARE_ALIKE[SHARE_ALIKE.index("representations warranties") :]
    assert len(disclaimer.split()) > 60
    assert licence_alike(disclaimer) == []
    assert licence_alike("Lorem ipsum dolor sit amet. " * 100) == []
    assert licence_alike("") == []


def test_mit_with_the_clause_about_the_holders_name_is_x11() -> None:
    assert licence_of_file(MIT) == "MIT"
    assert licence_of_file(MIT + NAME_CLAUSE) == "X11"
    assert finer(["MIT"], MIT + NAME_CLAUSE.replace(" ", "\n * ")) == ["X11"]
    assert finer(["Apache-2.0", "MIT"], MIT + NAME_CLAUSE) == ["Apache-2.0", "MIT"], "which of the two is meant is not known"


@pytest.mark.parametrize("holder, licence", [("Carnegie Mellon University", "MIT-CMU"), ("ACME University", "HPND")])
def test_hpnd_in_the_name_of_carnegie_mellon_is_mit_cmu(holder: str, licence: str) -> None:
    text = f"""Permission to use, copy, modify, and distribute this software and its documentation for any purpose and without fee is hereby
granted, provided that the above copyright notice appear in all copies and that both that copyright notice and this permission notice
appear in supporting documentation, and that the name of {holder} not be used in advertising or publicity pertaining to distribution of
the software without specific, written prior permission."""
    assert licence_of_file(text) == licence


@pytest.mark.parametrize("mark", ["* ", "# ", "// ", "; "])
def test_a_notice_cut_out_of_code_with_its_marks_is_known_by_its_clauses(mark: str) -> None:
    bsd = """Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions
are met:
1. Redistributions of source code must retain the above copyright
   notice, this list of conditions and the following disclaimer.
2. Redistributions in binary form must reproduce the above copyright
   notice in the documentation.
3. <deleted>
4. Neither the name of the Institute nor the names of its staff
   may be used to endorse or promote products derived from this software
   without specific prior written permission."""
    marked = "\n".join(mark + line for line in bsd.splitlines())
    assert licence_of_file(marked) == "BSD-3-Clause"
    assert licence_of_file(marked + f"\n{mark}5. Redistributions must be paid for.") == UNKNOWN


def test_a_text_titled_as_a_binding_licence_is_it_and_one_titled_as_a_permissive_one_may_be_changed() -> None:
    body = "Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 40
    assert licence_of_file(f"MOZILLA PUBLIC LICENSE\nVersion 1.1\n---------\n{body}") == "MPL-1.1"
    assert licence_of_file(f"The GNU General Public License, version 2\n\n{body}") == "GPL-2.0-only"
    assert licence_of_file(f"Apache License\nVersion 2.0\n\n{body}") == UNKNOWN
    assert licence_of_file(f"The GNU General Public License asks much of those who\n{body}") == UNKNOWN


def test_the_apache_1_1_of_any_project_is_known_by_its_clauses_and_not_with_one_more() -> None:
    text = """Redistribution and use in source and binary forms, with or without modification, are permitted provided that the following
conditions are met:
1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following disclaimer.
2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following disclaimer.
3. The end-user documentation included with the redistribution, if any, must include the following acknowledgment:
"This product includes software developed by the Pump Project (http://pump.example/)." Alternately, this acknowledgment may appear in
the software itself, if and wherever such third-party acknowledgments normally appear.
4. The names "Pump" and "Pump Project" must not be used to endorse or promote products derived from this software without prior written
permission. For written permission, please contact pump@pump.example.
5. Products derived from this software may not be called "Pump" nor may "Pump" appear in their names without prior written permission
of the Pump Project.
"""
    assert licence_of_file(text) == "Apache-1.1"
    assert licence_of_file(text + "6. Products derived from this software may not be sold.\n") == UNKNOWN


def test_the_beerware_licence_is_known_by_its_clauses() -> None:
    text = "<jane@pump.example> wrote this file. As long as you retain this notice you can do whatever you want with this stuff.\n"
    assert licence_of_file(text) == "Beerware"
    assert licence_of_file(text + "Companies pay a fee.\n") == UNKNOWN
