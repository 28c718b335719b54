"""Secrets in text that is escaped as a whole, and those that stand apart from their name."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_samples import ALPHANUMERIC, BASE64, PASSWORD, SMALL, UPPER, drawn, encoded, uuid

from finetune.data.secrets import Redactor
from finetune.data.secrets.rules import RULES
from finetune.data.secrets.screen import Look, anchor_screen, hyperscan_screen

TOKEN = drawn(32)
SCREENS = (Redactor(screen=hyperscan_screen()), Redactor(screen=anchor_screen()))
UNSCREENED = Redactor(screen=lambda content: [Look(rule, 0, len(content)) for rule in RULES])

PAIRS = [[drawn(2, ALPHANUMERIC[:52], f"{seed} {place}") for place in range(7)] for seed in range(100)]
# Digits between pairs of letters, so that no words come about.
values = st.builds(
    lambda seed, sign: "".join(f"{pair}{digit}" for pair, digit in zip(PAIRS[seed], "7491836", strict=True)) + f"{sign}z",
    st.integers(0, 99),
    st.sampled_from(["", "!", "#", "@", "/", "&", "%", "=", ":", "+", " "]),
)
depths = st.integers(1, 3)


def escaped(text: str, times: int) -> str:
    for _ in range(times):
        text = quote(text, safe="")
    return text


def redacted(text: str) -> str:
    """As both screens and none of them say."""
    (found,) = {each.redact(text)[0] for each in (*SCREENS, UNSCREENED)}
    return found


@settings(max_examples=60, deadline=None)
@given(value=values, times=depths, lower=st.booleans())
def test_a_link_escaped_as_a_whole_loses_its_password_and_nothing_else(value, times, lower):
    begin, end = escaped("next=https://deploy:", times), escaped("@git.corp.io/a.git?x=1&y=2", times)
    middle = escaped(quote(value, safe=""), times)
    if lower:
        begin, middle, end = (text.replace("%3A", "%3a").replace("%2F", "%2f") for text in (begin, middle, end))
    assert redacted(f"go {begin}{middle}{end} on") == f"go {begin}<PASSWORD>{end} on"


@settings(max_examples=60, deadline=None)
@given(
    tag=st.one_of(st.from_regex(r"v?[0-9]{1,3}\.[0-9]{1,3}(\.[0-9]{1,3})?(-rc[0-9])?", fullmatch=True), values),
    digest=st.sampled_from(["sha256", "sha512"]),
    times=st.integers(0, 3),
)
def test_the_tag_of_an_image_is_no_password(tag, digest, times):
    link = escaped(f"docker://image:{quote(tag, safe='')}@{digest}:{'ab12' * 16}", times)
    assert redacted(link) == link


@pytest.mark.parametrize("times", [1, 2, 3])
def test_nor_is_a_version_in_a_link_that_is_escaped(times):
    link = escaped("pkg://app:v1.2.3-rc4@linux", times)
    assert redacted(link) == link
    within = escaped("next=docker-image://app:ubuntu-22.04@linux", times)
    assert redacted(within) == within


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg", "https", "rediss", "mongodb+srv"])
@pytest.mark.parametrize("password", ["acme-2024.10", "10.24-kX7qzP", "v1.2.3-rc4"])
def test_what_looks_like_a_version_is_the_password_of_who_logs_in(scheme, password):
    for times in (0, 1, 2):
        link = escaped(f"{scheme}://admin:{password}@db.acme.net/x", times)
        assert redacted(f"url={link}") == f"url={link.replace(escaped(password, times), '<PASSWORD>')}"


@settings(max_examples=60, deadline=None)
@given(
    value=values.filter(lambda value: " " not in value), times=depths, name=st.sampled_from(["password", "access_token", "client_secret"])
)
def test_a_form_that_is_escaped_loses_its_secrets_and_nothing_else(value, times, name):
    begin, end = escaped(f"to=/in?user=svc&{name}=", times), escaped("&grant=1", times)
    found = redacted(f"'{begin}{escaped(quote(value, safe=''), times)}{end}'")
    assert found in {f"'{begin}{sign}{end}'" for sign in ("<PASSWORD>", "<KEY>")}


@settings(max_examples=60, deadline=None)
@given(value=values.filter(lambda value: value.isalnum()), times=depths, name=st.sampled_from(["dbPassword", "apiKey", "auth.token"]))
def test_an_object_that_is_escaped_loses_its_secrets_and_nothing_else(value, times, name):
    text = escaped(json.dumps({"user": "svc", name: value, "n": 1}), times)
    assert redacted(f"q={text}&r") in {f"q={text.replace(value, sign)}&r" for sign in ("<PASSWORD>", "<KEY>")}


GOLDEN = {
    f"https%3A//deploy%3A{PASSWORD}%40git.corp.io/a.git": "https%3A//deploy%3A<PASSWORD>%40git.corp.io/a.git",
    f"https%3A%2F%2Fjane%2540corp.io%3A{PASSWORD}%40h.corp.io": "https%3A%2F%2Fjane%2540corp.io%3A<PASSWORD>%40h.corp.io",
    f"x=user%3Aa%2Ctoken%3A{TOKEN}%2Cb": "x=user%3Aa%2Ctoken%3A<KEY>%2Cb",
    f"sb%3A%2F%2Fx%3BPassword%3D{PASSWORD}%3BEncrypt%3Dtrue": "sb%3A%2F%2Fx%3BPassword%3D<PASSWORD>%3BEncrypt%3Dtrue",
    f"env:\n  - name: DB_PASSWORD\n    value: {PASSWORD}\n  - name: X\n": "env:\n  - name: DB_PASSWORD\n    value: <KEY>\n  - name: X\n",
    f'[{{"name": "API_TOKEN", "value": "{TOKEN}"}}]': '[{"name": "API_TOKEN", "value": "<KEY>"}]',
    f'{{\n  "ParameterKey": "DbPassword",\n  "ParameterValue": "{PASSWORD}"\n}}': (
        '{\n  "ParameterKey": "DbPassword",\n  "ParameterValue": "<KEY>"\n}'
    ),
    f"Uid=sa;Pwd={{{PASSWORD}}};": "Uid=sa;Pwd={<PASSWORD>};",
    f"sqlplus svc/{PASSWORD}@ORCL @run.sql": "sqlplus svc/<PASSWORD>@ORCL @run.sql",
    f"docker login -u svc -p {PASSWORD} r.corp.io": "docker login -u svc -p <PASSWORD> r.corp.io",
    f"redis-cli -h cache -a {PASSWORD} ping": "redis-cli -h cache -a <PASSWORD> ping",
    f"openssl pkcs12 -passin pass:{PASSWORD} -nodes": "openssl pkcs12 -passin pass:<PASSWORD> -nodes",
    f"keytool -storepass {PASSWORD} -genkey": "keytool -storepass <KEY> -genkey",
    f"ConvertTo-SecureString -AsPlainText -Force -String '{PASSWORD}'": "ConvertTo-SecureString -AsPlainText -Force -String '<PASSWORD>'",
    f"new mysqli('db.corp.io', 'svc', '{PASSWORD}', 'app')": "new mysqli('db.corp.io', 'svc', '<PASSWORD>', 'app')",
    f'requests.get(url, auth=("svc", "{PASSWORD}"))': 'requests.get(url, auth=("svc", "<PASSWORD>"))',
    f'getConnection("jdbc:x", "svc", "{PASSWORD}")': 'getConnection("jdbc:x", "svc", "<PASSWORD>")',
    f"jane:{{SSHA}}{drawn(38, BASE64)}==": "jane:<PASSWORD>",
    f"//npm.corp.io/:_authToken={uuid()}'": "//npm.corp.io/:_authToken=<KEY>'",
    f"AKIA{4 * '23BC'}\t{drawn(40, BASE64)}\n": f"AKIA{4 * '23BC'}\t<KEY>\n",
}


@pytest.mark.parametrize("text", GOLDEN, ids=range(len(GOLDEN)))
def test_exactly_the_secret_is_replaced(text):
    assert redacted(text) == GOLDEN[text]


CERTIFICATE = "-----BEGIN CERTIFICATE-----\n" + drawn(64, BASE64)
URL = f"postgres://svc:{PASSWORD}@db/app"


def secret(data: str, *, kind: str = "Secret", begin: str = "") -> str:
    return f"{begin}apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {drawn(12)}\ndata:\n{data}type: Opaque\n"


def test_what_a_secret_of_kubernetes_holds_is_replaced():
    key, url = encoded(drawn(24)), encoded(URL)
    text = secret(f"  user: {encoded('svc-user')}\n  # the link\n  url: {url}\n\n  'a.key': \"{key}\"\n", begin="a: 1\n---\n")
    assert redacted(text) == text.replace(url, "<KEY>").replace(key, "<KEY>")
    before = f"data:\n  url: {url}\nkind: Secret\n"  # in any order
    assert redacted(before) == before.replace(url, "<KEY>")


LINK = encoded(URL)
IN_A_LIST = """\
kind: List
items:
- kind: ConfigMap
  data:
    url: {stays}
- apiVersion: v1
  data:
    # a: comment
    url: {goes}
  metadata: {{name: a}}
  kind: Secret
- kind: ConfigMap
  data:
    url: {stays}
"""
LISTED = [
    IN_A_LIST,
    IN_A_LIST.replace("\n-", "\n  -").replace("\n  ", "\n      ").replace("\n      -", "\n    -"),
    IN_A_LIST.replace("\n- ", "\n-  # one\n  "),
    IN_A_LIST.replace("\n- ", "\n-\n  "),
    IN_A_LIST.replace("data:", "data:\n{{{{- if .Values.a }}}}").replace("\n  kind", "\n{{{{ end }}}}\n  kind"),
    IN_A_LIST.replace("data:", "data:  # comment").replace("kind: Secret", "kind: Secret # one"),
    IN_A_LIST.replace("\n", "\r\n"),
    "".join(f"{line}  # end\n" for line in IN_A_LIST.splitlines()),
]


@pytest.mark.parametrize("text", LISTED, ids=range(len(LISTED)))
def test_a_secret_in_a_list_is_told_from_its_neighbours(text):
    stays = encoded(URL.replace("db/app", "db/map"))
    assert redacted(text.format(stays=stays, goes=LINK)) == text.format(stays=stays, goes="<KEY>")


def test_a_secret_of_json_over_several_lines_is_told_from_its_neighbours():
    def items(link):
        held = [{"kind": kind, "data": {"user": "YQ==", "url": found}} for kind, found in [("ConfigMap", LINK), ("Secret", link)] * 2]
        return json.dumps({"kind": "List", "items": held}, indent=2)

    assert redacted(items(LINK)) == items("<KEY>")


@pytest.mark.parametrize("size", [30_000, 60_000])
def test_a_large_value_hides_none_beside_it(size):
    large = encoded(CERTIFICATE + "a" * size)
    text = secret(f"  ca.crt: {large}\n  url: {LINK}\n")
    assert redacted(text) == text.replace(LINK, "<KEY>")
    comments = secret(f"  # {large}\n  url: {LINK}\n" + f"  # {large}\n")
    assert redacted(comments) == comments.replace(LINK, "<KEY>")


@pytest.mark.parametrize(
    "text",
    [
        secret(f"  more:\n    url: {LINK}\n"),
        secret(f"  - url: {LINK}\n"),
        f"kind: Secret\nmetadata:\n  annotations:\n    url: {LINK}\n",
        f"spec:\n  kind: Secret\ndata:\n  url: {LINK}\n",
        secret(f"  url: {encoded(URL)}\n", kind="ConfigMap"),
        secret(f"  url: {encoded(URL)}\n", kind="SecretStore"),
        secret("  a: b\n") + f"more:\n  url: {encoded(URL)}\n",
        secret("  a: b\n") + f"---\ndata:\n  url: {encoded(URL)}\n",
        secret(
            secret(f"  cert: {encoded(CERTIFICATE)}\n  word: {encoded('secret secret')}\n  p: {encoded('changeme')}\n"),
        ),
    ],
)
def test_what_stands_elsewhere_in_a_manifest_stays(text):
    assert redacted(text) == text


ORDINARY = [
    *("redirect=https%3A%2F%2Fregistry.npmjs.org%2F%40scope%2Fpkg%3A1", "https%3A%2F%2Fuser%3Apassword%40git.corp.io"),
    *(
        "https%3A%2F%2Fsvc%3AQ7h4kz9%40example.com",
        "https%3A%2F%2F%24%7BUSER%7D%3A%24%7BPASS%7D%40git.corp.io",
        "http%3A%2F%2Flocalhost%3A8080%2Fa%40b",
    ),
    *('printf("password%3d of %3d\\n", i, n)', "token%3DYOUR_TOKEN_HERE_1234", "password%3Dchangeme", "password%3D%24%7BDB_PASSWORD%7D"),
    *(
        "compass%3ANor7hWest9x",
        "tokenizer%3Dgpt2-medium-v1.0",
        "token_url%3Dhttps%3A%2F%2Fa1.b2.io%2Foauth2",
        "%3Apassword%3A",
        "token%3D%3D",
    ),
    *("q=%7B%22password%22%3A%22string%22%7D", "?next=%2Flogin%3Fpassword%3Dreset2024page", "response_type=token%3Acode&scope=a"),
    "- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef: {name: db, key: password1}\n",
    *(
        "- name: PASSWORD_FILE\n  value: /run/secrets/Db-1x\n",
        "- name: API_TOKEN\n  value: $(API_TOKEN)\n",
        '{"key": "token", "value": "{{token1A}}"}',
    ),
    *(
        '{"name": "password", "value": "password123"}',
        "- name: tokenizer\n  value: Gpt2Medium-v1x",
        "- name: DB_PASSWORD\n  value: changeme\n",
    ),
    *("docker run -p 8080:80 nginx", "docker login -u svc -p $PASSWORD r.io", "ssh -p 2222 login@host", "redis-cli -a $REDIS_PASS ping"),
    *("openssl pkcs12 -passin pass:changeit", "openssl -passin env:PASSWORD1x", "sqlplus / as sysdba", "sqlplus scott/tiger@orcl"),
    *("jdbc:oracle:thin:@//db:1521/x", "jdbc:oracle:thin:user/password@db", "{SHA}", "hash = '{SHA256}'", "Pwd={0}; Uid={1}"),
    *(
        "//registry.corp.io/:_authToken=${NPM_TOKEN}",
        "//registry/:_authToken=YOUR_TOKEN_HERE",
        "auth=('user', 'password')",
        "auth=(USER, PASSWORD)",
    ),
    *(
        'new PDO("mysql:host=x", "root", "")',
        "getConnection('primary', 'cluster', 'replica-node-2')",
        "keytool -storepass changeit -keypass $PASS1",
    ),
    "AKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
]


def test_small_letters_and_digits_in_turn_are_no_words():
    """Half of the runs of three letters have a vowel: of keys in base 36 a fourth was taken for words, and kept."""
    drawn_keys = [drawn(size, SMALL, f"{size} {place}") for size in (20, 24, 32) for place in range(100)]
    kept = [key for key in drawn_keys if SCREENS[0].redact(f'api_key = "{key}"')[0] != 'api_key = "<KEY>"']
    assert len(kept) <= len(drawn_keys) / 10


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text):
    assert redacted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "https%3A%2F%2Fa" * 3_000,
        "%3A%2F%2F" + "a%3A" * 12_000,
        "password%3D" * 5_000,
        "token%253Da" * 5_000,
        "kind: Secret\ndata:\n" + "   \n" * 8_000 + "x",
        "kind: Secret\ndata:\n" + f"  key: {encoded(UPPER)}\n" * 800,
        "kind: Secret\n" + "".join(" " * depth + f"data:\n{' ' * depth} key: {LINK}\n" for depth in range(200)),
        "kind: Secret\ndata:\n" + f"  key: {LINK}\n#\n" * 3_000,
        "kind: Secret\n" + "- " * 30_000 + "data:\n",
        "kind: Secret\n" + " " * 60_000 + "-\n" + f"- data:\n    key: {LINK}\n" * 800,
        "kind: Secret\ndata:\n  key: " + "a" * 200_000 + "!",
        "name: password" + " " * 50_000 + "value",
        "name: password\nvalue: " * 2_500,
        "getConnection('a', " * 2_500,
        "login -u " * 6_000,
        "sqlplus a/" * 5_000,
        "AKIA" + "2" * 50_000,
    ],
)
def test_hostile_text_takes_no_long_time(text):
    started = time.process_time()
    UNSCREENED.redact(text)
    assert time.process_time() - started < 5
