"""What parsed before its secrets were taken out parses after, by the parsers of the languages themselves."""

from __future__ import annotations

import ast
import html.parser
import json
import random
import shutil
import string
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.languages import type_of
from finetune.data.secrets import Redactor, redact_item
from finetune.data.secrets.writing import FORMS, writer
from finetune.data.syntax import parsed
from finetune.data.tally import Tally
from finetune.records import Change, Origin, SourceFile

KEY = "".join(random.Random("key").choices(string.ascii_letters + string.digits, k=32))
MAIL = "jane.doe@corp-mail.io"


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor()


def shell_takes(text: str) -> bool:
    return subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False).returncode == 0


SHELL = {
    f"#!/bin/sh\nexport API_TOKEN={KEY}\necho ok\n": "#!/bin/sh\nexport API_TOKEN='<KEY>'\necho ok\n",
    f"mail -s hi {MAIL} < note\n": "mail -s hi '<EMAIL>' < note\n",
    f'mail -s "for {MAIL}" root\n': 'mail -s "for <EMAIL>" root\n',
    f"echo 'ask {MAIL}' # or {MAIL}\n": "echo 'ask <EMAIL>' # or <EMAIL>\n",
    f"# don't ask {MAIL}\nmail {MAIL}\n": "# don't ask <EMAIL>\nmail '<EMAIL>'\n",
    f"cat <<EOF\nIt's for {MAIL}\nEOF\nmail {MAIL}\n": "cat <<EOF\nIt's for <EMAIL>\nEOF\nmail '<EMAIL>'\n",
    f"cat <<-'ONE' <<TWO\n\tdon't {MAIL}\n\tONE\n{MAIL}\nTWO\nmail {MAIL}\n": (
        "cat <<-'ONE' <<TWO\n\tdon't <EMAIL>\n\tONE\n<EMAIL>\nTWO\nmail '<EMAIL>'\n"
    ),
    f"if [ $# = 1 ]; then mail it\\'s {MAIL}; fi\n": "if [ $# = 1 ]; then mail it\\'s '<EMAIL>'; fi\n",
    f"[ ${{#1}} -gt 0 ] && mail {MAIL}\n": "[ ${#1} -gt 0 ] && mail '<EMAIL>'\n",
    f"x=${{y}}#z; mail {MAIL}\n": "x=${y}#z; mail '<EMAIL>'\n",
    f"n=$((1 << k)); mail {MAIL}\nk\n": "n=$((1 << k)); mail '<EMAIL>'\nk\n",
    f'X="a \\" b" mail {MAIL}\n': 'X="a \\" b" mail \'<EMAIL>\'\n',
    "curl https://bob:tr0ub4dor@db.corp.io/x\n": "curl https://bob:'<PASSWORD>'@db.corp.io/x\n",
    f"docker run -e API_TOKEN={KEY} app > log\n": "docker run -e API_TOKEN='<KEY>' app > log\n",
    f'API_TOKEN={KEY} run; export "API_TOKEN={KEY}"\n': "API_TOKEN='<KEY>' run; export \"API_TOKEN=<KEY>\"\n",
}


@pytest.mark.parametrize("text", SHELL, ids=range(len(SHELL)))
def test_a_shell_still_takes_it(redactor: Redactor, text: str) -> None:
    assert shutil.which("sh") and shell_takes(text)
    assert redactor.redact(text, "Shell")[0] == SHELL[text] and shell_takes(SHELL[text])
    again, found = redactor.redact(SHELL[text], "Shell")
    assert (again, found.total()) == (SHELL[text], 0), "what is redacted stays as it is"


MARKUP = {
    f"<a><mail>{MAIL}</mail></a>": "<a><mail>&lt;EMAIL&gt;</mail></a>",
    f'<user mail="{MAIL}" api_key="{KEY}"/>': '<user mail="&lt;EMAIL&gt;" api_key="&lt;KEY&gt;"/>',
    f"<a><!-- {MAIL} --><b><![CDATA[{MAIL}]]></b>{MAIL}</a>": "<a><!-- <EMAIL> --><b><![CDATA[<EMAIL>]]></b>&lt;EMAIL&gt;</a>",
}


@pytest.mark.parametrize("text", MARKUP, ids=range(len(MARKUP)))
def test_xml_still_parses_and_holds_the_placeholder_as_its_text(redactor: Redactor, text: str) -> None:
    redacted, _ = redactor.redact(text, "Maven POM")
    assert redacted == MARKUP[text]
    before, after = ET.fromstring(text), ET.fromstring(redacted)
    said = ET.tostring(before, encoding="unicode").replace(MAIL, "&lt;EMAIL&gt;").replace(KEY, "&lt;KEY&gt;")
    assert ET.tostring(after, encoding="unicode") == said


def test_html_has_the_tags_it_had(redactor: Redactor) -> None:
    def tags(text: str) -> list[str]:
        found: list[str] = []
        parser = html.parser.HTMLParser()
        parser.handle_starttag = lambda tag, _: found.append(tag)  # type: ignore[method-assign]
        parser.feed(text)
        return found

    text = f'<p>{MAIL}<br><a href="mailto:{MAIL}">write</a></p><script>const mail = "{MAIL}" < 3;</script><p>{MAIL}</p>'
    redacted, found = redactor.redact(text, "HTML")
    assert tags(redacted) == tags(text) == ["p", "br", "a", "script", "p"]
    assert 'const mail = "<EMAIL>" < 3;' in redacted and redacted.startswith("<p>&lt;EMAIL&gt;<br>") and found["email"] == 4


def test_jsx_between_tags_is_a_string_and_code_is_as_it_was(redactor: Redactor) -> None:
    text = f'const Ask = () => <p title="{MAIL}">Ask {MAIL} or {{other("{MAIL}")}}</p>; // {MAIL}\n'
    for language in ("JavaScript", "TSX"):
        redacted, _ = redactor.redact(text, language)
        assert redacted == ('const Ask = () => <p title="<EMAIL>">Ask {"<EMAIL>"} or {other("<EMAIL>")}</p>; // <EMAIL>\n')
        assert not parsed(text, language)[0].has_error and not parsed(redacted, language)[0].has_error
    plain = f"const mail = '{MAIL}';\n"
    assert redactor.redact(plain, "JavaScript")[0] == "const mail = '<EMAIL>';\n"


def test_yaml_python_and_json_parse_with_the_placeholder_as_it_is(redactor: Redactor) -> None:
    document = f"mail: {MAIL}\nall: [{MAIL}, '{MAIL}']\napi_key: {KEY}\ntext: |\n  Ask {MAIL}\n? {MAIL}\n: 1\n"
    document += f"env: ['API_TOKEN={KEY}', API_TOKEN={KEY}]\nrun: app -e API_TOKEN={KEY} now\n"
    redacted, _ = redactor.redact(document, "YAML")
    assert yaml.safe_load(redacted) == {
        "mail": "<EMAIL>", "all": ["<EMAIL>", "<EMAIL>"], "api_key": "<KEY>", "text": "Ask <EMAIL>\n", "<EMAIL>": 1,
        "env": ["API_TOKEN=<KEY>", "API_TOKEN=<KEY>"], "run": "app -e API_TOKEN=<KEY> now"
    }  # fmt: skip
    code = f'MAIL = "{MAIL}"  # {MAIL}\nAPI_KEY = f"{{MAIL}} {KEY}"\nDOC = """\n{MAIL}\n"""\n'
    ast.parse(redactor.redact(code, "Python")[0])
    told = json.dumps({"log": f"built by\nroot@corp-mail.io\t{KEY}", "env": f"A=1\nAPI_TOKEN={KEY}\n", "as": f"\u2028{MAIL}"})
    assert json.loads(redactor.redact(told, "JSON")[0]) == {
        "log": f"built by\n<EMAIL>\t{KEY}", "env": "A=1\nAPI_TOKEN=<KEY>\n", "as": "\u2028<EMAIL>"
    }  # fmt: skip
    assert json.loads(redactor.redact(json.dumps({"mail": MAIL, "api_key": KEY}), "JSON")[0]) == {"mail": "<EMAIL>", "api_key": "<KEY>"}


def test_both_versions_of_a_change_are_written_in_its_language_and_the_message_in_none() -> None:
    change = Change(Origin("r", "c", "a.sh"), "Shell", f"Ask {MAIL}", f"mail {MAIL}\n", f"mail '{MAIL}'\n")
    file = SourceFile(Origin("r", "c", ".env"), "Dotenv", f"ADMIN={MAIL}\n")
    found = redact_item(change, Redactor(), Tally())
    assert found == Change(change.origin, "Shell", "Ask <EMAIL>", "mail '<EMAIL>'\n", "mail '<EMAIL>'\n")
    assert redact_item(file, Redactor(), Tally()) == SourceFile(file.origin, "Dotenv", "ADMIN='<EMAIL>'\n")


BATCH = {
    f"@echo off\nset API_TOKEN={KEY}\n": '@echo off\nset API_TOKEN="<KEY>"\n',
    f'set "ADMIN={MAIL}"\n': 'set "ADMIN=<EMAIL>"\n',
    f":: ask {MAIL}\nmail {MAIL} < note\n": ':: ask <EMAIL>\nmail "<EMAIL>" < note\n',
    f'set "API_TOKEN={KEY}"\nrun --env=API_TOKEN={KEY} app\n': 'set "API_TOKEN=<KEY>"\nrun --env=API_TOKEN="<KEY>" app\n',
    f'echo "no end\nmail {MAIL}\n': 'echo "no end\nmail "<EMAIL>"\n',
}
POWERSHELL = {
    f"Send-Mail -To {MAIL} -Body 'it''s for {MAIL}' # or {MAIL}\n": "Send-Mail -To '<EMAIL>' -Body 'it''s for <EMAIL>' # or <EMAIL>\n",
    f'$mail = "a `"{MAIL}`" ""b"""; mail {MAIL}\n': '$mail = "a `"<EMAIL>`" ""b"""; mail \'<EMAIL>\'\n',
    f"<# don't {MAIL} #> mail {MAIL}\n": "<# don't <EMAIL> #> mail '<EMAIL>'\n",
    f"$text = @'\nit's {MAIL}\n'@\nmail {MAIL}\n": "$text = @'\nit's <EMAIL>\n'@\nmail '<EMAIL>'\n",
    f'$text = @"\n"{MAIL}\n"@\nmail it`\'s {MAIL}\n': "$text = @\"\n\"<EMAIL>\n\"@\nmail it`'s '<EMAIL>'\n",
    "curl.exe https://bob:tr0ub4dor@db.corp.io/x\n": "curl.exe https://bob:'<PASSWORD>'@db.corp.io/x\n",
}
DOCKER = {
    f"FROM a\nENV API_TOKEN={KEY}\nLABEL maintainer={MAIL}\n": "FROM a\nENV API_TOKEN=<KEY>\nLABEL maintainer=<EMAIL>\n",
    f"RUN mail {MAIL} && \\\n  # don't\n\n  mail {MAIL}\nLABEL m={MAIL}\n": (
        "RUN mail '<EMAIL>' && \\\n  # don't\n\n  mail '<EMAIL>'\nLABEL m=<EMAIL>\n"
    ),
    f'RUN ["mail", "{MAIL}"]\nonbuild run mail "{MAIL}" {MAIL}\n': 'RUN ["mail", "<EMAIL>"]\nonbuild run mail "<EMAIL>" \'<EMAIL>\'\n',
    f"RUN <<ONE bash\nmail {MAIL}\nONE\nCOPY <<TWO /a\nmail {MAIL}\nTWO\n": (
        "RUN <<ONE bash\nmail '<EMAIL>'\nONE\nCOPY <<TWO /a\nmail <EMAIL>\nTWO\n"
    ),
    f"# {MAIL}\nHEALTHCHECK --interval=5m CMD curl -u bob:{MAIL} x\n": "# <EMAIL>\nHEALTHCHECK --interval=5m CMD curl -u bob:'<EMAIL>' x\n",
}


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [(name, *pair) for name, table in (("Batchfile", BATCH), ("PowerShell", POWERSHELL), ("Dockerfile", DOCKER)) for pair in table.items()],
)
def test_a_placeholder_without_quotes_is_no_redirection(redactor: Redactor, language: str, text: str, said: str) -> None:
    assert redactor.redact(text, language)[0] == said
    again, found = redactor.redact(said, language)
    assert (again, found.total()) == (said, 0), "what is redacted stays as it is"


MAKE = {
    f"MAIL = {MAIL}\nall:\n\techo $(MAIL) \"$(MAIL)\" '$(MAIL)'\n": (r"MAIL = \<EMAIL\>", "<EMAIL> \\<EMAIL\\> \\<EMAIL\\>"),
    f"all:\n\t@echo {MAIL} 'to {MAIL}' \"or {MAIL}\" # {MAIL}\n": ("@echo '<EMAIL>' 'to <EMAIL>'", "<EMAIL> to <EMAIL> or <EMAIL>"),
    f"# it's {MAIL}\nall:\n\techo it\\'s \\\n\t  {MAIL}\n": ("\t  '<EMAIL>'", "it's <EMAIL>"),
    f"say = echo don\\'t $(1)\nall: ; $(call say,{MAIL})\n": (r"$(call say,\<EMAIL\>)", "don't <EMAIL>"),
}


@pytest.mark.parametrize("text", MAKE, ids=range(len(MAKE)))
def test_make_hands_a_placeholder_to_its_shell_as_a_word(redactor: Redactor, text: str, tmp_path: Path) -> None:
    written, echoed = MAKE[text]
    redacted, _ = redactor.redact(text, "Makefile")
    assert written in redacted and MAIL not in redacted
    (tmp_path / "Makefile").write_text(redacted)
    shown = subprocess.run(["make", "-s", "-C", str(tmp_path)], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == echoed
    assert redactor.redact(redacted, "Makefile")[0] == redacted


TEMPLATES = {
    "Jinja": f'<p>{MAIL} {{{{ "{MAIL}" }}}} {{# {MAIL} #}}</p>{{% if "{MAIL}" %}}<b>{MAIL}</b>{{% endif %}}',
    "HTML+ERB": f'<p>{MAIL} <%= mail_to "{MAIL}" %></p><!-- {MAIL} -->',
    "PHP": f'<?php $mail = "{MAIL}"; ?>\n<p>{MAIL}</p>\n<?php mail("{MAIL}");\n',
    "Handlebars": f'<p>{MAIL}{{{{#if (is "{MAIL}")}}}}!{{{{/if}}}}</p>',
    "Astro": f'---\nconst mail = "{MAIL}";\n---\n<p>{MAIL}</p>',
    "MDX": f"# Ask {MAIL}\n\n```sh\nmail {MAIL}\n```\n\n<p>{MAIL}</p> or `{MAIL}`\n",
}
WRITTEN = {
    "Jinja": '<p>&lt;EMAIL&gt; {{ "<EMAIL>" }} {# <EMAIL> #}</p>{% if "<EMAIL>" %}<b>&lt;EMAIL&gt;</b>{% endif %}',
    "HTML+ERB": '<p>&lt;EMAIL&gt; <%= mail_to "<EMAIL>" %></p><!-- <EMAIL> -->',
    "PHP": '<?php $mail = "<EMAIL>"; ?>\n<p>&lt;EMAIL&gt;</p>\n<?php mail("<EMAIL>");\n',
    "Handlebars": '<p>&lt;EMAIL&gt;{{#if (is "<EMAIL>")}}!{{/if}}</p>',
    "Astro": '---\nconst mail = "<EMAIL>";\n---\n<p>&lt;EMAIL&gt;</p>',
    "MDX": "# Ask &lt;EMAIL&gt;\n\n```sh\nmail <EMAIL>\n```\n\n<p>&lt;EMAIL&gt;</p> or `<EMAIL>`\n",
}


@pytest.mark.parametrize("language", TEMPLATES)
def test_a_template_has_the_tags_it_had_and_its_code_is_as_it_was(redactor: Redactor, language: str) -> None:
    assert redactor.redact(TEMPLATES[language], language)[0] == WRITTEN[language]


QUOTED = {
    "PHP": f"<?php $end = '?>'; $mail = \"{MAIL}\"; mail('{MAIL}');\n?><p>{MAIL}</p>",
    "HTML+Razor": f'@{{ var mail = "{MAIL}"; }}\n<p>{MAIL}</p>',
    "Blade": f"@php\n$mail = ['{MAIL}', '{MAIL}'];\n@endphp\n<p>{MAIL}</p>",
    "FreeMarker": f'<#assign mail = "{MAIL}"><p>{MAIL}</p>',
    "Velocity Template Language": f'#set($mail = "{MAIL}")<p>{MAIL}</p>',
    "Astro": f'<Card mail="{MAIL}" to={{`{MAIL}`}}>{MAIL}</Card>',
    "MDX": f'export const meta = {{ mail: "{MAIL}" }}\n\n<p>{MAIL}</p>\n',
}


@pytest.mark.parametrize("language", QUOTED)
def test_a_string_of_a_templates_code_holds_the_placeholder_itself_wherever_the_code_is(redactor: Redactor, language: str) -> None:
    expected = QUOTED[language].replace(f">{MAIL}<", ">&lt;EMAIL&gt;<").replace(MAIL, "<EMAIL>")
    assert redactor.redact(QUOTED[language], language)[0] == expected


def test_quotes_in_the_text_of_a_template_or_in_its_xml_make_no_code(redactor: Redactor) -> None:
    said = f'<p>"{MAIL}" or ask "{MAIL}"</p>'
    assert redactor.redact(said, "Jinja")[0] == said.replace(MAIL, "&lt;EMAIL&gt;")
    page = f'<html xmlns:py="http://genshi.edgewall.org/"><a mail="{MAIL}">${{to("{MAIL}")}}</a></html>'
    assert [*ET.fromstring(redactor.redact(page, "Genshi")[0])][0].text == '${to("<EMAIL>")}'


def test_a_template_of_what_has_no_tags_keeps_the_placeholder_as_it_is(redactor: Redactor) -> None:
    assert redactor.redact(f"mail: {MAIL}\nname: {{{{ name }}}}\n", "Jinja")[0] == "mail: <EMAIL>\nname: {{ name }}\n"


def test_every_language_with_a_form_of_its_own_is_linguists() -> None:
    assert [name for name in FORMS if type_of(name) is None and name != "Dotenv"] == []


pieces = st.sampled_from(
    [
        "a",
        " ",
        "\n",
        "'x y'",
        '"x \' y"',
        "\\'",
        '\\"',
        "# it's\n",
        "V=",
        "; ",
        "$#",
        "cat <<E\nit's\nE\n",
        "<<<'w' ",
        "$'\\'' ",
        "${#a} ",
        "${a}#b",
        "$((1<<a)) ",
    ]
)


@given(st.lists(pieces, max_size=8).map("".join), st.lists(pieces, max_size=8).map("".join))
def test_wherever_a_value_stands_a_shell_that_took_it_still_does(before: str, after: str) -> None:
    text = f"{before}VALUE{after}"
    if not shell_takes(text):
        return
    place = len(before.encode())
    written = writer(text.encode(), "shell")(place, b"<KEY>").decode()
    assert shell_takes(before + written + after), before + written + after
