"""Functions and the unit tests that call them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from finetune.data.mine import mine
from finetune.data.miners import Bench, Refused
from finetune.data.miners.unit_tests import UnitTests
from finetune.data.render import Encoder
from finetune.data.tally import Tally
from finetune.records import InstructSample, Origin, Side, SourceFile

LANGUAGES = {".py": "Python", ".go": "Go", ".java": "Java", ".ts": "TypeScript", ".js": "JavaScript", ".rs": "Rust"}
PY = "def area(w, h):\n    return w * h\n\n\ndef edge(w):\n    return w\n"
PY_TEST = "from shapes import area\n\n\ndef test_area_of_nothing():\n    w = 0\n    assert area(w, 1) == 0\n"
PROJECTS = {
    "python": ({"src/shapes.py": PY, "tests/test_shapes.py": PY_TEST}, "test_area_of_nothing", "Python function `area`"),
    "go": (
        {
            "box/box.go": "package box\n\nfunc (b *Box) Open(key int) int {\n\treturn key\n}\n",
            "box/box_test.go": "package box\n\nfunc TestBox_Open(t *testing.T) {\n\tb := Box{}\n\trequire.Equal(t, 1, b.Open(1))\n}\n",
        },
        "TestBox_Open",
        "Go method `Open` of `Box`",
    ),
    "java": (
        {
            "src/main/java/a/Box.java": "package a;\nclass Box {\n  int open(int key) {\n    return key;\n  }\n}\n",
            "src/test/java/a/BoxTest.java": (
                "package a;\nclass BoxTest {\n  @Test\n  public void opens() {\n    int key = 1;\n"
                "    assertThat(new Box().open(key)).isEqualTo(1);\n  }\n}\n"
            ),
        },
        "opens",
        "Java method `open` of `Box`",
    ),
    "typescript": (
        {
            "src/box.ts": "export const open = (key: number) => {\n  return key;\n};\n",
            "src/box.test.ts": (
                "import { open } from './box';\n\ndescribe('box', () => {\n  it('opens with a key', () => {\n"
                "    const key = 1;\n    expect(open(key)).toBe(1);\n  });\n});\n"
            ),
        },
        "opens with a key",
        "TypeScript function `open`",
    ),
    "rust": (
        {
            "src/lib.rs": (
                "pub fn open(key: u32) -> u32 {\n    key\n}\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n\n"
                "    #[test]\n    fn opens() {\n        let key = 1;\n        assert_eq!(open(key), 1);\n    }\n}\n"
            )
        },
        "opens",
        "Rust function `open`",
    ),
}


def files(texts: dict[str, str]) -> list[SourceFile]:
    return [SourceFile(Origin("project", "c0ffee", path), LANGUAGES[path[path.rindex(".") :]], text) for path, text in texts.items()]


@pytest.fixture
def bench_of(encoder: Encoder) -> Callable[..., Bench]:
    def make(side: Callable[[Origin], Side] = lambda _: "train") -> Bench:
        return Bench(encoder, 1024, 0, side=side)

    return make


def refusals(texts: dict[str, str], bench: Bench, miner: UnitTests | None = None) -> list[str]:
    return [each.reason for each in (miner or UnitTests()).join(files(texts), bench).samples if isinstance(each, Refused)]


@pytest.mark.parametrize("name", PROJECTS)
def test_a_test_is_paired_by_the_conventions_of_its_language(name: str, bench_of: Callable[..., Bench]) -> None:
    texts, case, function = PROJECTS[name]
    (sample,) = UnitTests().join(files(texts), bench_of()).samples
    assert isinstance(sample, InstructSample)
    assert sample.instruction == f"Write the unit test `{case}` for the {function}."
    assert "return" in sample.context or "key" in sample.context
    assert "\n" in sample.answer
    assert not sample.answer.startswith(" ")
    program, *tests = texts
    assert (sample.origin.path, [other.path for other in sample.others]) == (program, tests)


def test_the_sample_is_counted_for_both_of_its_files(bench_of: Callable[..., Bench]) -> None:
    tally = Tally(read=3)
    items = files({**PROJECTS["python"][0], "src/other.py": "x = 1\n"})
    (mined,) = mine(items, [UnitTests()], bench_of(), learn="answer", tally=tally)
    assert [origin.path for origin in mined.origins] == ["src/shapes.py", "tests/test_shapes.py"]
    assert (tally.kept, dict(tally.dropped)) == (2, {"no_unit_test": 1})


@pytest.mark.parametrize("held", ["src/shapes.py", "tests/test_shapes.py"])
def test_a_function_and_its_test_on_different_sides_make_no_sample(held: str, bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(lambda origin: "valid" if origin.path == held else "train")
    assert refusals(PROJECTS["python"][0], bench) == ["sides_differ"]


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("def test_area():\n    assert area(1, 1)\n", "trivial_test"),
        ("def test_area():\n    x = 1\n    area(x, x)\n", "no_assertion"),
        ("def test_area():\n    assert area(1, 1)\n" + "    x = 1\n" * 99, "test_too_long"),
        ("def test_all():\n    x = 1\n    assert area(x, x) + edge(x)\n", "calls_several_functions"),
        ("def test_all():\n    x = 1\n    assert len([x])\n", "calls_no_function_near"),
        ("def test_all():\n    x = 1\n    assert far(x)\n", "named_after_no_function"),
    ],
)
def test_a_test_that_is_no_pair_has_its_reason(test: str, reason: str, bench_of: Callable[..., Bench]) -> None:
    texts = {"src/shapes.py": PY, "src/far.py": "def far(x):\n    return x\n"}
    texts["tests/test_shapes.py"] = f"from shapes import area, edge\nfrom far import far\n\n\n{test}"
    assert refusals(texts, bench_of()) == [reason]


@pytest.mark.parametrize(
    ("of_test", "of_function", "reasons"), [(100, 100, []), (101, 100, ["test_too_long"]), (100, 101, ["function_too_long"])]
)
def test_a_test_and_its_function_have_a_hundred_lines_at_most(
    of_test: int, of_function: int, reasons: list[str], bench_of: Callable[..., Bench]
) -> None:
    program = "def area(w, h):\n" + "    w += h\n" * (of_function - 2) + "    return w\n"
    test = "from shapes import area\n\n\ndef test_area():\n    assert area(1, 1)\n" + "    x = 1\n" * (of_test - 2)
    assert refusals({"src/shapes.py": program, "tests/test_shapes.py": test}, bench_of()) == reasons


def test_a_function_that_does_nothing_needs_no_test(bench_of: Callable[..., Bench]) -> None:
    texts, _, _ = PROJECTS["java"]
    program, test = texts
    empty = texts[program].replace("    return key;\n", "    // Nothing.\n")
    assert refusals({program: empty, test: texts[test]}, bench_of()) == ["no_body"]


def test_the_name_of_a_test_decides_between_the_functions_it_calls(bench_of: Callable[..., Bench]) -> None:
    test = "from shapes import area, edge\n\n\ndef test_edge_of_area():\n    x = 1\n    assert area(x, x) + edge(x)\n"
    texts = {"src/shapes.py": PY + "\n\ndef edge_of_area(x):\n    return x\n", "tests/test_shapes.py": test}
    assert refusals(texts, bench_of()) == ["calls_several_functions"]  # it calls both words' functions, not the one of both
    texts["tests/test_shapes.py"] = test.replace("edge(x)", "edge_of_area(x)")
    (sample,) = UnitTests().join(files(texts), bench_of()).samples
    assert isinstance(sample, InstructSample)
    assert sample.context.startswith("def edge_of_area")


def test_a_function_of_a_name_that_is_nowhere_near_is_not_meant(bench_of: Callable[..., Bench]) -> None:
    texts = {"src/other/area.py": "def area(w, h):\n    return 0\n", "tests/test_shapes.py": PY_TEST.replace("from shapes import area", "")}
    assert refusals(texts, bench_of()) == ["calls_no_function_near"]


def test_of_many_tests_of_a_function_the_same_few_are_chosen_in_any_order(bench_of: Callable[..., Bench]) -> None:
    tests = "".join(f"\n\ndef test_area_{number}():\n    w = {number}\n    assert area(w, 1)\n" for number in range(9))
    texts = {"src/shapes.py": PY, "tests/test_shapes.py": f"from shapes import area\n{tests}"}
    one = UnitTests().join(files(texts), bench_of()).samples
    other = UnitTests().join(files(texts)[::-1], bench_of()).samples
    chosen = [{each.instruction for each in made if isinstance(each, InstructSample)} for made in (one, other)]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 3
    assert refusals(texts, bench_of()) == ["enough_tests"] * 6
