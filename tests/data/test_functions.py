"""Functions, their docstrings and comments."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.functions import dedented, doc_text, functions, parses, without_doc

PYTHON = '''class Shape:
    """Not this one."""

    @property
    @cached
    def area(self) -> int:
        r"""The area,
        in squares.
        """

        # Sides first.
        return self.w * self.h

    def bare(self):
        """Nothing else."""

    def plain(self): return 1


def outer(x):
    def inner(y):
        "Hidden."
        return y
    return inner(x)


def one(): "Said in a line."; return 1
'''
SOURCES = {
    "JavaScript": """/**
 * Adds two numbers.
 *
 * @param a the first
 */
export async function add(a, b) {
  return a + b;
}

// Doubles
// its argument.
const twice = (x) => {
  return 2 * x;
};

class Box {
  /** Opens the box. */
  open() { return this.lid; }
}
""",
    "TypeScript": """class Box<T> {
  /** Opens the box. */
  @log
  open(key: string): T { return this.lid; }
}
/* Not for it. */

function far(): void {}
""",
    "Java": """class Box {
  /** Opens <b>it</b>. */
  @Override
  public int open(int key) { return key; }

  int far; // of the field
  Box() { far = 1; }
}
""",
    "Go": """package box

// Open opens the box
// with a key.
//go:noinline
func (b *Box[T]) Open(key int) int {
	return key
}

func far() {}
""",
    "Rust": """impl Box {
    /// Opens the box.
    ///
    /// With a key.
    #[inline]
    pub fn open(&self, key: u32) -> u32 { key }
}
""",
    "C": """/* Adds
 * two numbers.
 */
static int *add(int a, int b)
{
    return 0;
}
int declared(void);
""",
    "C++": """/// Opens it.
template <typename T>
T Box<T>::open(int key) { return lid; }
""",
}
EXPECTED = {
    "JavaScript": [
        ("add", "", "Adds two numbers.\n\n@param a the first"),
        ("twice", "", "Doubles\nits argument."),
        ("open", "Box", "Opens the box."),
    ],
    "TypeScript": [("open", "Box", "Opens the box."), ("far", "", "")],
    "Java": [("open", "Box", "Opens <b>it</b>."), ("Box", "Box", "")],
    "Go": [("Open", "Box", "Open opens the box\nwith a key."), ("far", "", "")],
    "Rust": [("open", "Box", "Opens the box.\n\nWith a key.")],
    "C": [("add", "", "Adds\ntwo numbers.")],
    "C++": [("open", "Box", "Opens it.")],
}


@pytest.mark.parametrize("language", SOURCES)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_functions_are_found_with_what_is_said_above_them(language: str, line_end: str) -> None:
    text = SOURCES[language].replace("\n", line_end)
    found = functions("// é€😀" + line_end * 2 + text, language)
    text = "// é€😀" + line_end * 2 + text
    said = [(each.name, each.owner, doc_text(text, each).replace("\r\n", "\n")) for each in found]
    assert said == EXPECTED[language]


@pytest.mark.parametrize(("language", "first"), [("TypeScript", "@log"), ("Rust", "#[inline]"), ("C++", "template"), ("Java", "@Override")])
def test_decorators_and_attributes_are_a_part_of_the_function(language: str, first: str) -> None:
    text = SOURCES[language]
    assert dedented(text, functions(text, language)[0].whole).startswith(first)


def test_a_python_function_stands_at_the_margin_without_its_docstring() -> None:
    found = {each.name: each for each in functions(PYTHON, "Python")}
    assert list(found) == ["area", "bare", "plain", "outer", "one"]
    assert (found["area"].owner, found["outer"].owner) == ("Shape", "")
    assert doc_text(PYTHON, found["area"]) == "The area,\nin squares."
    assert without_doc(PYTHON, found["area"]) == (
        "@property\n@cached\ndef area(self) -> int:\n    # Sides first.\n    return self.w * self.h"
    )
    assert without_doc(PYTHON, found["plain"]) == "def plain(self): return 1"
    assert without_doc(PYTHON, found["one"]) == "def one(): return 1"
    assert doc_text(PYTHON, found["outer"]) == ""
    assert not parses(without_doc(PYTHON, found["bare"]), "Python")


@given(lines=st.lists(st.sampled_from(["x = 1", "# é", "", "if x:\n            pass", '"text"']), max_size=5))
def test_a_docstring_goes_and_everything_else_stays(lines: list[str]) -> None:
    body = "\n".join(f"        {line}" if line else "" for line in [*lines, "return 2"])
    text = f'class A:\n    def f(self):\n        """Said."""\n{body}\n'
    code = without_doc(text, functions(text, "Python")[0])
    bare = ast.parse(f"class A:\n    def f(self):\n{body}\n").body[0]
    assert isinstance(bare, ast.ClassDef)
    assert [ast.dump(statement) for statement in ast.parse(code).body] == [ast.dump(bare.body[0])]
    assert code.count("# é") == body.count("# é")


def test_a_function_with_an_error_and_a_language_without_a_grammar_give_nothing() -> None:
    assert functions("def f(:\n    return 1\n", "Python") == []
    assert functions("def f():\n    return 1\n", "Cobol") == []
