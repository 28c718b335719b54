"""How a placeholder is written, so that what parsed before still parses: `<KEY>` by itself is a redirection in a shell, a tag in XML.

    shell       '<KEY>' where nothing quotes it; so in PowerShell, in a Makefile's commands and in a Dockerfile's
    make        \\<KEY\\> in what is no command, which a shell takes between quotes of any kind and without them
    batch       "<KEY>" outside of a string
    markup      &lt;KEY&gt;, the same text, but in comments, CDATA, scripts, styles, and the code and strings of a template
    JSX         {"<KEY>"} between tags

Everywhere else a value stands in quotes, in a comment, or where `<` is a letter like others (YAML, INI).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from finetune.data.secrets import quoting
from finetune.data.syntax import parsed

Form: TypeAlias = Literal["plain", "shell", "powershell", "make", "batch", "docker", "markup", "template", "mdx", "JavaScript", "TSX"]
Write: TypeAlias = Callable[[int, bytes], bytes]
_MARKUP = ("XML", "SVG", "Maven POM", "Ant Build System", "XML Property List", "XSLT", "HTML", "Vue", "Svelte", "Genshi")
_TEMPLATES = (
    *("HTML+ERB", "HTML+EEX", "HTML+PHP", "HTML+ECR", "HTML+Razor", "Jinja", "Nunjucks", "Twig", "Liquid", "Latte", "Edge", "Blade"),
    *("Handlebars", "Mustache", "EJS", "Go Template", "Smarty", "FreeMarker", "Velocity Template Language", "Java Server Pages"),
    *("Groovy Server Pages", "Classic ASP", "ASP.NET", "ColdFusion", "Mako", "Astro", "PHP"),
)
_OTHERS: Mapping[str, Form] = {
    **{"Shell": "shell", "fish": "shell", "Tcsh": "shell", "Dotenv": "shell", "PowerShell": "powershell", "Makefile": "make"},
    **{"Batchfile": "batch", "Dockerfile": "docker", "MDX": "mdx", "JavaScript": "JavaScript", "TSX": "TSX"},
}
FORMS: Mapping[str, Form] = MappingProxyType(
    {**_OTHERS, **dict.fromkeys(_MARKUP, "markup"), **dict.fromkeys(_TEMPLATES, "template")},
)


def writer(content: bytes, form: Form) -> Write:
    """What writes a placeholder for the value that begins at a place of the content."""
    if form in _LINES:
        ranges_of, written = _LINES[form]
        ranges, code = [*ranges_of(content)], form in ("template", "mdx")
        return lambda place, placeholder: (
            placeholder if _within(ranges, place) or (code and quoting.begins_string(content, place)) else written(placeholder)
        )
    if form == "make":
        ranges = [*quoting.make(content)]
        return lambda place, placeholder: placeholder if _within(ranges, place) else _of_make(content, place, placeholder)
    if form in ("JavaScript", "TSX") and b"</" in content:
        text = [*_between_tags(content, form)]
        return lambda place, placeholder: b'{"' + placeholder + b'"}' if _within(text, place) else placeholder
    return lambda _, placeholder: placeholder


def _quoted(placeholder: bytes) -> bytes:
    return b"'" + placeholder + b"'"


def _of_make(content: bytes, place: int, placeholder: bytes) -> bytes:
    if content.startswith(b"\t", content.rfind(b"\n", 0, place) + 1):
        return _quoted(placeholder)
    return placeholder.replace(b"<", rb"\<").replace(b">", rb"\>")


def _entities(placeholder: bytes) -> bytes:
    return placeholder.replace(b"<", b"&lt;").replace(b">", b"&gt;")


# Where each form takes a placeholder as it is, and how it is written elsewhere.
_LINES: Mapping[Form, tuple[Callable[[bytes], Iterator[quoting.Range]], Callable[[bytes], bytes]]] = {
    "shell": (quoting.shell, _quoted),
    "docker": (quoting.docker, _quoted),
    "powershell": (quoting.powershell, _quoted),
    "batch": (quoting.batch, lambda placeholder: b'"' + placeholder + b'"'),
    "markup": (quoting.markup, _entities),
    "template": (quoting.template, _entities),
    "mdx": (quoting.prose, _entities),
}


def _within(ranges: list[quoting.Range], place: int) -> bool:
    index = bisect_right(ranges, (place, len(ranges) and ranges[-1][1])) - 1
    return index >= 0 and ranges[index][0] <= place < ranges[index][1]


def _between_tags(content: bytes, language: str) -> Iterator[quoting.Range]:
    root, _ = parsed(content.decode("utf-8", "surrogatepass"), language)
    left = [root]
    while left:
        node = left.pop()
        if node.type == "jsx_text":
            yield node.start_byte, node.end_byte
        left += reversed(node.children)
