"""The single tests of a file, by the conventions of its language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from finetune.data.functions import dedented, functions
from finetune.data.names import is_test
from finetune.data.syntax import Span, parsed
from finetune.records import SourceFile

if TYPE_CHECKING:
    from tree_sitter import Node

SCRIPTS = ("JavaScript", "TypeScript", "TSX")
_NAMED = {"Python": re.compile(r"test"), "Go": re.compile(r"Test(?![a-z])")}
_MARKED: Mapping[str, re.Pattern[str]] = {
    "Java": re.compile(r"\s*(?:@\w[^\n]*\s+)*?@(?:\w+\.)*(?:Parameterized|Repeated)?Test\b|\s*public void test\w*\("),
    "Rust": re.compile(r"\s*(?:#\[[^\n]*\]\s+)*?#\[(?:\w+::)*test\b"),
}
_ASSERTS = re.compile(
    r"\b(?:assert\w*|expect\w*|should\w*|require\.\w+|verify\w*|fail|raises|t\.(?:Error|Fatal|Fail)\w*|panic)\b|\b(?:assert|debug_assert)\w*!"
)


class Case(NamedTuple):
    """A test by its name and its text, at the margin."""

    name: str
    code: str

    @property
    def asserts(self) -> bool:
        """Whether it looks at a result at all."""
        return _ASSERTS.search(self.code) is not None


def cases(file: SourceFile) -> Iterator[Case]:
    """The tests of a file in their order: of Python, JavaScript, TypeScript, Java, Go and Rust, where they may stand beside the program."""
    if file.language != "Rust" and not is_test(file.origin.path):
        return
    if file.language in SCRIPTS:
        yield from (Case(name, dedented(file.text, span)) for name, span in _blocks(file))
        return
    named, marked = _NAMED.get(file.language), _MARKED.get(file.language)
    for each in functions(file.text, file.language):
        if (named and named.match(each.name)) or (marked and marked.match(file.text[slice(*each.whole)])):
            yield Case(each.name, dedented(file.text, each.whole))


def _blocks(file: SourceFile) -> Iterator[tuple[str, Span]]:
    """Each `it("name", ...)` and `test("name", ...)`, with its name."""
    root, characters = parsed(file.text, file.language)
    stack = [root]
    while stack:
        node = stack.pop()
        name = _block_name(node)
        if name is not None and not node.has_error:
            start, end = node.start_byte, node.end_byte
            yield name, (start, end) if characters is None else (characters[start], characters[end])
        else:
            stack += reversed(node.named_children)


def _block_name(node: Node) -> str | None:
    call = node.named_children[0] if node.type == "expression_statement" and node.named_children else None
    called = None if call is None or call.type != "call_expression" else call.child_by_field_name("function")
    if call is None or called is None or (called.text or b"").split(b".")[0] not in {b"it", b"test"}:
        return None
    arguments = call.child_by_field_name("arguments")
    first = arguments.named_children[0] if arguments is not None and len(arguments.named_children) > 1 else None
    if first is None or first.type not in {"string", "template_string"}:
        return None
    return (first.text or b"").decode()[1:-1]
