"""Where the parts of a program lie: bodies, blocks, argument lists and expressions, found by tree-sitter.

    body         what a function, method or class holds
    block        what another statement holds: a branch, a loop, a try
    arguments    what stands between the brackets of a call
    expression   a call, an operation, a literal of several parts; never a name or a number alone

Blanks at a part's ends are not of it, nor are the brackets around it, but for an expression's own. A file that does not parse is used as
far as it does: a part with an error in it is left out, the others count (macros and C++ in headers make most C files err somewhere).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Query

Kind = Literal["expression", "arguments", "block", "body"]
Span = tuple[int, int]

KINDS: tuple[Kind, ...] = ("expression", "arguments", "block", "body")
_BRACKETS = {"{": "}", "(": ")", "[": "]"}


class Grammar(NamedTuple):
    """A grammar's package, and its names for the parts; `holders` are the nodes whose field `body` is a body."""

    package: str
    holders: str
    blocks: str
    arguments: str
    expressions: str
    entry: str = "language"


_JS_HOLDERS = (
    "function_declaration function_expression generator_function generator_function_declaration arrow_function method_definition "
    "class_declaration class"
)
_JS_EXPRESSIONS = (
    "array arrow_function assignment_expression augmented_assignment_expression await_expression binary_expression call_expression "
    "function_expression member_expression new_expression object subscript_expression template_string "
    "ternary_expression unary_expression yield_expression"
)
_TS_HOLDERS = f"{_JS_HOLDERS} abstract_class_declaration interface_declaration"
_TS_EXPRESSIONS = f"{_JS_EXPRESSIONS} as_expression non_null_expression satisfies_expression"
_C_EXPRESSIONS = (
    "assignment_expression binary_expression call_expression cast_expression compound_literal_expression conditional_expression "
    "field_expression initializer_list pointer_expression sizeof_expression subscript_expression "
    "unary_expression update_expression"
)
GRAMMARS: Mapping[str, Grammar] = {
    "Python": Grammar(
        "tree_sitter_python",
        holders="function_definition class_definition",
        blocks="block",
        arguments="argument_list",
        expressions="attribute await binary_operator boolean_operator call comparison_operator conditional_expression dictionary "
        "dictionary_comprehension generator_expression lambda list list_comprehension named_expression not_operator "
        "set set_comprehension subscript tuple unary_operator",
    ),
    "JavaScript": Grammar("tree_sitter_javascript", _JS_HOLDERS, "statement_block switch_body", "arguments", _JS_EXPRESSIONS),
    "TypeScript": Grammar(
        "tree_sitter_typescript", _TS_HOLDERS, "statement_block switch_body", "arguments", _TS_EXPRESSIONS, "language_typescript"
    ),
    "TSX": Grammar("tree_sitter_typescript", _TS_HOLDERS, "statement_block switch_body", "arguments", _TS_EXPRESSIONS, "language_tsx"),
    "Java": Grammar(
        "tree_sitter_java",
        holders="method_declaration constructor_declaration compact_constructor_declaration class_declaration interface_declaration "
        "enum_declaration record_declaration",
        blocks="block switch_block",
        arguments="argument_list",
        expressions="array_access array_creation_expression array_initializer assignment_expression binary_expression cast_expression "
        "field_access instanceof_expression lambda_expression method_invocation object_creation_expression "
        "switch_expression ternary_expression unary_expression",
    ),
    "Go": Grammar(
        "tree_sitter_go",
        holders="function_declaration method_declaration func_literal",
        blocks="block",
        arguments="argument_list",
        expressions="binary_expression call_expression composite_literal func_literal index_expression "
        "selector_expression slice_expression type_assertion_expression type_conversion_expression unary_expression",
    ),
    "Rust": Grammar(
        "tree_sitter_rust",
        holders="function_item impl_item trait_item struct_item enum_item closure_expression",
        blocks="block match_block",
        arguments="arguments",
        expressions="array_expression assignment_expression await_expression binary_expression call_expression closure_expression "
        "field_expression if_expression index_expression macro_invocation match_expression range_expression "
        "reference_expression struct_expression try_expression tuple_expression type_cast_expression unary_expression",
    ),
    "C": Grammar(
        "tree_sitter_c",
        holders="function_definition struct_specifier union_specifier enum_specifier",
        blocks="compound_statement",
        arguments="argument_list",
        expressions=_C_EXPRESSIONS,
    ),
    "C++": Grammar(
        "tree_sitter_cpp",
        holders="function_definition struct_specifier union_specifier enum_specifier class_specifier lambda_expression",
        blocks="compound_statement",
        arguments="argument_list",
        expressions=f"{_C_EXPRESSIONS} delete_expression lambda_expression new_expression",
    ),
}


def spans(text: str, language: str) -> Mapping[Kind, list[Span]]:
    """The parts of a text by kind, as offsets in characters in the order of the text; nothing for a language without a grammar.

    No two parts of a kind are equal, and none is empty; parts lie within parts.
    """
    if language not in GRAMMARS:
        return {kind: [] for kind in KINDS}
    from tree_sitter import QueryCursor

    parser, query = _tools(language)
    found = QueryCursor(query).captures(parser.parse(text.encode()).root_node)
    characters = _characters(text)
    bodies = {node.id for node in found.get("body", ())}
    parts: dict[Kind, list[Span]] = {}
    for kind in KINDS:
        nodes = (node for node in found.get(kind, ()) if not node.has_error and (kind != "block" or node.id not in bodies))
        inside = (_inside(text, _span(node, characters), brackets=kind == "expression") for node in nodes)
        parts[kind] = sorted({span for span in inside if span is not None})
    return parts


def parsed(text: str, language: str) -> tuple[Node, Sequence[int] | None]:
    """The tree of a text in a language of GRAMMARS, and the character that begins at each byte; None where they are the same."""
    parser, _ = _tools(language)
    return parser.parse(text.encode("utf-8", "surrogatepass")).root_node, _characters(text)


@functools.cache
def _tools(language: str) -> tuple[Parser, Query]:
    from tree_sitter import Language, Parser, Query

    grammar = GRAMMARS[language]
    loaded = Language(getattr(importlib.import_module(grammar.package), grammar.entry)())
    return Parser(loaded), Query(loaded, _query(grammar))


def _query(grammar: Grammar) -> str:
    lines = [f"({holder} body: (_) @body)" for holder in grammar.holders.split()]
    for kind, names in (("block", grammar.blocks), ("arguments", grammar.arguments), ("expression", grammar.expressions)):
        lines.append(f"[{' '.join(f'({name})' for name in names.split())}] @{kind}")
    return "\n".join(lines)


def _span(node: Node, characters: list[int] | None) -> Span:
    start, end = node.start_byte, node.end_byte
    return (start, end) if characters is None else (characters[start], characters[end])


def _characters(text: str) -> list[int] | None:
    """The character that begins at each byte; None where they are the same."""
    if text.isascii():
        return None
    import numpy as np

    begins = (np.frombuffer(text.encode(), np.uint8) & 0xC0) != 0x80
    characters: list[int] = (np.cumsum(begins) - begins).tolist()
    return [*characters, len(text)]


def _inside(text: str, span: Span, *, brackets: bool) -> Span | None:
    """The part without blanks at its ends, and without the brackets around it unless they are to stay; None when nothing is left."""
    start, end = span
    if not brackets and end - start > 1 and _BRACKETS.get(text[start]) == text[end - 1]:
        start, end = start + 1, end - 1
    written = text[start:end]
    bare = written.strip()
    if not bare:
        return None
    start += len(written) - len(written.lstrip())
    return start, start + len(bare)
