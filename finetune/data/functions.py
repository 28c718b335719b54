"""The functions of a file with what documents them, found by tree-sitter: Python, JavaScript, TypeScript, Java, Go, Rust, C, C++.

Functions and methods count, each with its decorators or attributes; what is defined within a function is a part of that. One with a
syntax error in it is left out.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from finetune.data.syntax import GRAMMARS, Span, parsed

if TYPE_CHECKING:
    from tree_sitter import Node

_FUNCTIONS = {
    *("function_definition", "function_declaration", "generator_function_declaration", "method_definition", "method_declaration"),
    *("constructor_declaration", "function_item"),
}
_VALUES = {"arrow_function", "function_expression", "generator_function"}
_OWNERS = {
    *("class_definition", "class_declaration", "abstract_class_declaration", "class", "interface_declaration", "enum_declaration"),
    *("record_declaration", "impl_item", "trait_item", "class_specifier", "struct_specifier"),
}
_WRAPPERS = {"decorated_definition", "export_statement", "template_declaration"}
_BEFORE = {"decorator", "attribute_item"}
_COMMENTS = {"comment", "line_comment", "block_comment"}
_DIRECTIVE = re.compile(r"//(?:go:|nolint|line |export |lint:|eslint|@ts-)|/\*\s*eslint|#")
_MARKS = re.compile(r"^[ \t]*(?:/\*[*!]?|\*+/|///?!?|//!|\*(?!/))[ \t]?|[ \t]*\*+/[ \t]*$", re.MULTILINE)


class Function(NamedTuple):
    """Where a function lies in its text, in characters. `whole` begins with its decorators, `body` is what it does.

    `doc` is the docstring within the body, or the comment right before the function; `owner` the class it is a method of, or "".
    """

    name: str
    owner: str
    whole: Span
    body: Span
    doc: Span | None
    doc_within: bool


def functions(text: str, language: str) -> list[Function]:
    """The functions of a text in the order they stand in; none in a language without a grammar."""
    if language not in GRAMMARS:
        return []
    root, characters = parsed(text, language)
    place: Callable[[int], int] = (lambda byte: byte) if characters is None else characters.__getitem__
    found = (_function(node, owner, language, place) for node, owner in _nodes(root))
    return [each for each in found if each is not None]


def _nodes(root: Node) -> Iterator[tuple[Node, str]]:
    """Every function that is in no other one, with the name of its class. No recursion: code may be nested deeply."""
    stack = [(root, "")]
    while stack:
        node, owner = stack.pop()
        if _value(node) is not None:
            yield node, owner
            continue
        inner = _name(node) if node.type in _OWNERS else owner
        stack += [(child, inner) for child in reversed(node.named_children)]


def _value(node: Node) -> Node | None:
    """The node with parameters and body of a function; None for anything else."""
    if node.type in _FUNCTIONS:
        return node
    if node.type in {"lexical_declaration", "variable_declaration"}:
        declared = [child for child in node.named_children if child.type == "variable_declarator"]
        value = declared[0].child_by_field_name("value") if len(declared) == 1 else None
        return value if value is not None and value.type in _VALUES else None
    return None


def _name(node: Node) -> str:
    """The name a node gives itself; in C it stands in the midst of its type."""
    if node.type in {"lexical_declaration", "variable_declaration"}:
        node = next(child for child in node.named_children if child.type == "variable_declarator")
    found = node.child_by_field_name("name") or node.child_by_field_name("type" if node.type == "impl_item" else "declarator")
    while found is not None and (inner := found.child_by_field_name("declarator")) is not None:
        found = inner
    return (found.text or b"").decode() if found is not None else ""


def _function(node: Node, owner: str, language: str, place: Callable[[int], int]) -> Function | None:
    value = _value(node)
    body = None if value is None else value.child_by_field_name("body")
    name = _name(node)
    if body is None or not name or node.has_error:
        return None
    outer = node
    while outer.parent is not None and outer.parent.type in _WRAPPERS:
        outer = outer.parent
    first = outer
    while (before := first.prev_named_sibling) is not None and before.type in _BEFORE:
        first = before
    within = language == "Python"
    doc = _docstring(body) if within else _comment(first)
    if language == "Go" and (receiver := node.child_by_field_name("receiver")) is not None:
        owner = re.sub(r"\[.*|[()*]", "", (receiver.text or b"").decode()).split(" ")[-1]
    if "::" in name:
        owner, name = re.sub(r"<[^<>]*>", "", name).rsplit("::", 1)
    whole = (place(first.start_byte), place(outer.end_byte))
    return Function(name, owner, whole, (place(body.start_byte), place(body.end_byte)), _characters(doc, place), within)


def _characters(span: Span | None, place: Callable[[int], int]) -> Span | None:
    return None if span is None else (place(span[0]), place(span[1]))


def _docstring(body: Node) -> Span | None:
    first = body.named_children[0] if body.named_children else None
    if first is None or first.type != "expression_statement" or len(first.named_children) != 1:
        return None
    literal = first.named_children[0]
    return (first.start_byte, first.end_byte) if literal.type in {"string", "concatenated_string"} else None


def _comment(node: Node) -> Span | None:
    """The comments that stand right above a node, in lines that follow each other; directives to tools are none."""
    first, last, below = None, None, node
    while (above := below.prev_named_sibling) is not None and above.type in _COMMENTS:
        beside = above.prev_named_sibling  # a comment behind code, in its line, belongs to that
        if _last_row(above) != below.start_point.row - 1 or (beside is not None and _last_row(beside) == above.start_point.row):
            break
        below = above
        if not _DIRECTIVE.match((above.text or b"").decode()):
            first, last = above, last or above
    return None if first is None or last is None else (first.start_byte, last.end_byte)


def _last_row(node: Node) -> int:
    """Rust's doc comments end where the next line begins."""
    return node.end_point.row - (node.end_point.column == 0)


def dedented(text: str, span: Span) -> str:
    """A stretch of the text as it would stand at the margin; its first line may begin behind its indentation."""
    start, end = span
    line = text.rfind("\n", 0, start) + 1
    indent = text[line:start]
    lines = text[start:end].split("\n")
    if indent.strip():
        return "\n".join(lines)
    return "\n".join([lines[0], *(each.removeprefix(indent) for each in lines[1:])])


def without_doc(text: str, function: Function) -> str:
    """The function at the margin, without its docstring; a comment before it is no part of it anyway."""
    whole = dedented(text, function.whole)
    if function.doc is None or not function.doc_within:
        return whole
    start, end = function.whole
    first, last = function.doc
    following = text[last:end]
    rest = following.lstrip(" \t;")
    if not rest.strip():
        return whole[: len(dedented(text, (start, first)))].rstrip()
    if rest.startswith(("\n", "\r\n")):
        # The next statement takes the place of the docstring, blank lines between them go.
        body = rest.lstrip("\r\n")
        indent = text[text.rfind("\n", 0, first) + 1 : first]
        rest = body.removeprefix(indent) if not indent.strip() else body.lstrip()
    margin = text[text.rfind("\n", 0, start) + 1 : start]
    kept = text[start:first] + rest
    return dedented(margin + kept, (len(margin), len(margin + kept)))


def code_lines(text: str, language: str) -> list[str]:
    """The lines that are more than a comment, without their indentation."""
    marks = ("#",) if language == "Python" else ("//", "/*", "* ", "*/")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and line != "*" and not line.startswith(marks)]


def doc_text(text: str, function: Function) -> str:
    """What the docstring or comment says, without quotes, marks and margins; empty where there is none."""
    if function.doc is None:
        return ""
    written = text[slice(*function.doc)]
    if function.doc_within:
        return _literal(written)
    bare = textwrap.dedent(_MARKS.sub("", "\n".join(line.strip() for line in written.splitlines())))
    return "\n".join(line.rstrip() for line in bare.splitlines()).strip()


def _literal(written: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            value = ast.literal_eval(written)
    except (SyntaxError, ValueError):
        return ""  # an f-string, or bytes of another Python
    return inspect.cleandoc(value).strip() if isinstance(value, str) else ""


def parses(code: str, language: str) -> bool:
    """Whether a function at the margin stands on its own as its language has it; for Python by its own parser."""
    if language == "Python":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                ast.parse(code)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return False
    return True
