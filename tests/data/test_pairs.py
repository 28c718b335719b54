"""A name and a value side by side in code, in objects and in manifests: what is a secret there, and what is the program's."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_samples import ALPHANUMERIC, PASSWORD, drawn

from finetune.data.secrets import Redactor
from finetune.data.secrets.rules import RULES
from finetune.data.secrets.screen import Look, anchor_screen, hyperscan_screen
from finetune.data.syntax import parsed

SCREENS = (Redactor(screen=hyperscan_screen()), Redactor(screen=anchor_screen()))
UNSCREENED = Redactor(screen=lambda content: [Look(rule, 0, len(content)) for rule in RULES])
FORMS = {
    "Go": "package a\n\nvar x = Pair{{Name: {name}, Value: {value}}}\n",
    "JavaScript": "const x = {{ name: {name}, value: {value} }};\n",
    "TypeScript": "const x: Pair = {{\n  name: {name},\n  value: {value}\n}};\n",
    "Python": 'x = {{"name": {name}, "value": {value}}}\n',
    "Rust": "fn f() {{ let x = Pair {{ name: {name}, value: {value} }}; }}\n",
    "Java": 'class A {{ String x = """\n  {{"name": {name}, "value": {value}}}"""; }}\n',
}
NAMES = ["DB_PASSWORD", "token", "GITHUB_TOKEN", "apiKey", "auth", "client-secret", "admin.password"]


def redacted(text: str, language: str = "") -> str:
    """As both screens and none of them say."""
    (found,) = {each.redact(text, language)[0] for each in (*SCREENS, UNSCREENED)}
    return found


word = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,11}", fullmatch=True)
chains = st.lists(word, min_size=1, max_size=3).map(".".join)
calls = st.builds("{}({})".format, chains, st.one_of(st.just(""), chains, st.integers().map(str)))
expressions = st.one_of(chains, calls, calls.map(lambda call: f"str({call})"), st.builds("{}[{}]".format, chains, word))
moments = st.builds(
    lambda moment, form: f'"{moment.strftime(form)}"',
    st.datetimes(min_value=datetime(1900, 1, 1)),
    st.sampled_from(["%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%S.%f+02:00", "%Y%m%dT%H%M%SZ", "%d.%m.%Y", "%Y/%m/%d"]),
)
versions = st.builds(
    '"{}{}.{}.{}{}"'.format,
    *(st.sampled_from(["", "v", "app-v"]), st.integers(0, 99), st.integers(0, 99), st.integers(0, 999)),
    st.sampled_from(["", "-beta4", "-rc.1+build.5", "-SNAPSHOT", "b3", "-20240131120000-abcdef012345", "-5-generic"]),
)


def pair(language: str, name: str, value: str) -> str:
    return FORMS[language].format(name=json.dumps(name), value=value)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*FORMS]), st.sampled_from(NAMES), st.one_of(expressions, moments, versions))
def test_what_code_works_out_and_dates_and_versions_stay_as_they_are(language: str, name: str, value: str) -> None:
    text = pair(language, name, value)
    assert redacted(text, language) == text


@pytest.mark.parametrize("language", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_a_quoted_value_drawn_at_random_is_replaced_in_code_that_still_parses(language: str, name: str) -> None:
    for seed in range(5):
        letters = drawn(20, ALPHANUMERIC[:52], f"{name}{seed}")  # with digits between, so that no words come about
        text = pair(language, name, json.dumps("4".join(letters[place : place + 2] for place in range(0, 20, 2)) + "!7"))
        found = redacted(text, language)
        assert found == pair(language, name, '"<KEY>"')
        assert not parsed(text, language)[0].has_error and not parsed(found, language)[0].has_error


CODE = [
    'Env{{Name: "DB_PASSWORD", Value: cfg.DBPwd}, {Name: "token", Value: getJWT()}, {Name: "GITHUB_TOKEN", Value: o.GHToken}}',
    '{ name: "token", value: newJWT(user) }',
    "{ name: 'token', value: ctx.rawJWT }",
    '{ name: "apiKey", value: cfg.srvKey2 }',
    '{\n  name: "apiKey",\n  value: srvK3y2\n}',
    '{ name: "apiKey"\n, value: srvK3y2\n}',
    '{"name": "auth", "value": str(uuid4())}',
    '{"name": "password", "value": cfg.DB_Pwd}',
    '{"name":"PASSWORD_RESET","value":"2024-01-31T00:00Z"}',
    '{"name":"auth-token","value":"v1.2.3-beta4"}',
    '{"name": "token", "value": "72h15m30s"}',
    "- name: DB_PASSWORD\n  value: vault:kv/x#pw1\n",
    "- name: DB_PASSWORD\n  value: ref+vault://kv/Team1/x#pw1\n",
    '- name: DB_PASSWORD\n  value: "op://Team1/db/pw_2"\n',
    "- name: AUTH_TOKEN\n  value: 1.2.3-beta4  # the day's\n",
    'name: "token" value: x4Y7pQ9k\n',
    'name: "token"\nvalue: params.tokenB64\n',
    'name: "token"\nvalue: newJWT(x)\n',
    'name: "token"\nvalue: cfg.srvKey2\n',
    "{name: token, value: cfg.srvKey2Md5x}",
    "{ name: token, value: newKey7Xq4(b2) }",
    '\'{"name":"token","value":"\'+xK7q2Vz9+\'"}\'',
    '\'{"name":"token","value":"a1\'+xK7q2Vz9+\'b2"}\'',
]


@pytest.mark.parametrize("text", CODE)
def test_code_that_looks_like_a_pair_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("end", ["", "\n", "  # of the\n", "\r\n"])
def test_a_value_without_quotes_is_taken_for_a_secret_in_a_block_of_yaml(end: str) -> None:
    text = f"env:\n  - name: DB_PASSWORD\n    value: {PASSWORD}{end}"
    assert redacted(text, "YAML") == text.replace(PASSWORD, "<KEY>")
    assert yaml.safe_load(redacted(text, "YAML")) == {"env": [{"name": "DB_PASSWORD", "value": "<KEY>"}]}


BESIDE = [  # names in front, the secret, what is behind
    ("- name: VAULT_TOKEN\n  value: ", "s.Iyf8Zkq3ZyYfm5Bq0bP7cQ1x", "\n"),
    ("- name: VAULT_TOKEN\n  value: ", "Xk9.mQ1z.Tr0ub4", "\n"),
    ("- name: DB_PASSWORD\n  value: ", "Kd8vTq2m(Zx5)", "\n"),
    ("- name: DB_PASSWORD\n  value: ", "qR7vXk2mZx5w;", "  # the day's\n"),
    ('{"name": "DB_PASSWORD", "value": "', "Xk9mQ1z'Lp7Rt5", '"}'),
    ('{"name": "DB_PASSWORD", "value": "', "Xk9'mQ1zLp7Rt5", '"}'),
    ("{'name': 'DB_PASSWORD', 'value': '", 'Xk9mQ1z"Lp7Rt5', "'}"),
    ("- {name: API_TOKEN, value: ", "a3f9c2e1b4d5f6a7b8c9d0e1f2a3b4c5", "}\n"),
    ("- {name: API_TOKEN, value: ", "qR7vXk2mZx5w", ", more: 1}\n"),
    ('{"name": "ADMIN_PASSWORD", "value": "', "admin-2024.10.7", '"}'),
    ('{"name": "BASIC_AUTH", "value": "', "admin:9.81-kX7qzP", '"}'),
    ('{"name": "API_KEY", "value": "', "live:k9Xm2Q/aB3dE5r7T", '"}'),
]


@pytest.mark.parametrize(("begin", "secret", "end"), BESIDE)
def test_a_secret_beside_its_name_goes_though_it_looks_like_code_or_a_version(begin: str, secret: str, end: str) -> None:
    assert redacted(f"{begin}{secret}{end}") == f"{begin}<KEY>{end}"
