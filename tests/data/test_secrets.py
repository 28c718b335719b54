from __future__ import annotations

import ast
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from secret_samples import ALPHANUMERIC, BASE64, HEX, PASSWORD, PLACES, UPPER, VENDORS, drawn, encoded, pem, uuid

from finetune.data.secrets import Redactor, redact_item
from finetune.data.secrets.redactor import RANKS, Span, merge
from finetune.data.secrets.rules import RULES
from finetune.data.secrets.screen import Look, anchor_screen, hyperscan_screen
from finetune.data.tally import Tally
from finetune.records import Change, Origin, SourceFile

PEM = pem()
DJANGO = "abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)"
WORDPRESS = ALPHANUMERIC + "!@#$%^&*()-_[]{}<>~+=,.;:/?|"
TOKENS = {
    "aws_key": "AKIA" + drawn(16, UPPER),
    "github_token": "ghp_" + drawn(36),
    "github_token_fine": "github_pat_" + drawn(22) + "_" + drawn(59),
    "gitlab_token": "glpat-" + drawn(20),
    "slack_token": "xoxb-" + drawn(12, "0123456789") + "-" + drawn(12, "0123456789", "b") + "-" + drawn(24),
    "slack_app_token": "xapp-1-" + drawn(11, UPPER) + "-" + drawn(13, "0123456789") + "-" + drawn(64, HEX),
    "slack_webhook": "https://hooks.slack.com/services/T" + drawn(8, UPPER) + "/B" + drawn(8, UPPER, "b") + "/" + drawn(24),
    "stripe_key": "sk_live_" + drawn(24),
    "stripe_webhook": "whsec_" + drawn(32),
    "google_key": "AIza" + drawn(35),
    "google_oauth": "GOCSPX-" + drawn(28),
    "google_access": "ya29." + drawn(60),
    "npm_token": "npm_" + drawn(36),
    "pypi_token": "pypi-AgEIcHlwaS5vcmc" + drawn(80),
    "anthropic_key": "sk-ant-api03-" + drawn(95),
    "openai_key": "sk-proj-" + drawn(40) + "T3BlbkFJ" + drawn(40, seed="b"),
    "openai_key_old": "sk-" + drawn(48),
    "huggingface_token": "hf_" + drawn(34, ALPHANUMERIC[:52]),
    "azure_key": "AccountKey=" + drawn(86, BASE64) + "==",
    "azure_secret": drawn(3) + "8Q~" + drawn(34),
    "sendgrid_key": "SG." + drawn(22) + "." + drawn(43),
    "digitalocean_token": "dop_v1_" + drawn(64, HEX),
    "shopify_token": "shpat_" + drawn(32, HEX),
    "telegram_token": drawn(10, "123456789") + ":AA" + drawn(33),
    "databricks_token": "dapi" + drawn(32, HEX),
    "vault_token": "hvs." + drawn(24),
    "docker_token": "dckr_pat_" + drawn(27),
    "atlassian_token": "ATATT3xFfGF0" + drawn(170),
    "grafana_token": "glsa_" + drawn(32) + "_" + drawn(8, HEX),
    "new_relic_key": "NRAK-" + drawn(27, UPPER),
    "age_key": "AGE-SECRET-KEY-1" + drawn(58, UPPER),
    "linear_key": "lin_api_" + drawn(40),
    "square_token": "sq0csp-" + drawn(43),
    "twilio_key": "SK" + drawn(32, HEX),
    "mailgun_key": "key-" + drawn(32, HEX),
    "jwt": "eyJ" + drawn(33) + ".eyJ" + drawn(60, seed="b") + "." + drawn(43, seed="c"),
    **VENDORS,
}
OTHERS = {
    "private_key": PEM,
    "aws_secret": 'aws_secret_access_key = "' + drawn(40, BASE64) + '"',
    "password_in_url": "https://bob:tr0ub4dor@db.corp.io/x",
    "password": 'password = "tr0ub4dor&3"',
    "generic_secret": 'api_key = "' + drawn(32) + '"',
    "unquoted_secret": "API_KEY=" + drawn(32),
    "secret_word": '- "API_TOKEN=' + drawn(32) + '"',
    "password_word": "docker run -e DB_PASSWORD=" + PASSWORD + " app",
    "bearer": "Authorization: Bearer " + drawn(40),
    "email": "jane@corp.io",
    "name": "Jane Doe <jane@corp.io>",
    "author": "@author Jane Doe",
    "ipv4": "52.94.76.112",
    "ipv6": "2a00:1450:4001:81b::200e",
    **{kind: text.format(value) for kind, (text, value) in PLACES.items()},
}


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor(screen=hyperscan_screen())


@pytest.fixture(scope="module")
def unscreened() -> Redactor:
    """Every rule looks at every text."""
    return Redactor(screen=lambda content: [Look(rule, 0, len(content)) for rule in RULES])


@pytest.fixture(scope="module")
def anchored() -> Redactor:
    """What is used where hyperscan is not installed."""
    return Redactor(screen=anchor_screen())


def kinds(redactor: Redactor, text: str) -> Counter[str]:
    return redactor.redact(text)[1]


def test_every_rule_has_a_sample_here():
    assert {rule.kind for rule in RULES} == set(TOKENS) | set(OTHERS)


@pytest.mark.parametrize("kind", sorted(TOKENS))
def test_a_token_is_found_at_every_place_it_may_stand(redactor, kind):
    value = TOKENS[kind]
    for form in ("{}", "x = '{}'\n", 'f("{}")', "ключ: {}\n", "a,{},b", "({})", "# see {} here"):
        assert redactor.redact(form.format(value)) == (form.format("<KEY>"), Counter({kind: 1}))


@pytest.mark.parametrize("kind", sorted(TOKENS))
def test_a_token_inside_a_longer_word_is_none(redactor, kind):
    assert kinds(redactor, f"zz{TOKENS[kind]}")[kind] == 0


@pytest.mark.parametrize("kind", sorted(TOKENS))
def test_the_letter_of_an_escape_is_no_part_of_a_token(redactor, kind):
    for escape in ("\\n", "\\r\\n\\t", "\\u003c", "\\x3C", "\\u{1f600}", "\\\\n", "\\033"):
        assert redactor.redact(f'x = "a{escape}{TOKENS[kind]}{escape}"') == (f'x = "a{escape}<KEY>{escape}"', Counter({kind: 1}))


@pytest.mark.parametrize("kind", TOKENS)
def test_a_percent_escape_before_a_token_is_no_part_of_it(redactor, kind):
    for escape in ("%20", "%2B", "token%3D", "%22", "%2f", "q%3A"):
        assert redactor.redact(f"x?a={escape}{TOKENS[kind]} ")[0] == f"x?a={escape}<KEY> "


def test_a_link_in_a_link_hides_neither_a_token_nor_an_address(redactor):
    assert redactor.redact(f"?next=%2Fback%3Ftoken%3D{drawn(32)}%26x")[0].startswith("?next=%2Fback%3Ftoken%3D<KEY>")
    assert redactor.redact("mailto:?cc=%20jane.doe@corp-mail.io")[0] == "mailto:?cc=%20<EMAIL>"
    assert redactor.redact(f"?next=%2Fback%3Ftoken%3D{drawn(12)}%2F{drawn(19)}%20and%20so%20on")[0].endswith("%3D<KEY>%20and%20so%20on")
    assert redactor.redact(f"https://a.corp.io/c?sig={drawn(21)}%2B{drawn(21, alphabet=HEX)}%3D")[0] == "https://a.corp.io/c?sig=<KEY>"


# A part of a value in base64, or the end of a word: nothing tells which, so neither may hide what is around it.
PERCENT = ("%0A", "%20", "%22", "%26", "%27", "%2B", "%2F", "%2f", "%2C", "%3A", "%3B", "%3D", "%3F", "%40", "%5B", "%7B", "%25")
LINKS = ("https://a.corp.io/c?sv=2020&sig={}", "?token={}", "x?code={}")
SETTINGS = ("API_TOKEN={}", "client_secret: {}", "app --api-token={}", "- 'API_TOKEN={}'")
WITHIN = ("?next=%2Fback%3Ftoken%3D{}", "?next=a%26sig%3D{}")  # links in a link
PARTED = {**dict.fromkeys((*LINKS, *SETTINGS), PERCENT), **dict.fromkeys(WITHIN, ("%2B", "%2F", "%3D", "%25"))}


@pytest.mark.parametrize("form", PARTED)
def test_an_escape_in_a_value_hides_no_part_of_it(redactor, anchored, form):
    for escape in PARTED[form]:
        value = f"{drawn(8)}7a{escape}{drawn(20, seed='b')}{escape}{drawn(8, seed='c')}"
        for each in (redactor, anchored):
            assert each.redact(form.format(value))[0] == form.format("<KEY>"), escape


@settings(max_examples=100, deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(12, 40), min_size=2, max_size=4), byte=st.integers(0, 255), form=st.sampled_from((*LINKS, *SETTINGS)))
def test_no_escape_of_any_byte_keeps_a_part_of_a_value(redactor, sizes, byte, form):
    value = f"%{byte:02X}".join(f"7{drawn(size, seed=str(place))}" for place, size in enumerate(sizes))
    assert redactor.redact(form.format(value))[0] == form.format("<KEY>")


ENDS = ["%2Fcode=", "/cb%3Bcode=", "a%20sig=", "a%7Bkey=", "a?key%20", "a?key%2F", "%3Fkey%3D", "&sig%3D", "%26code=", "?token%3d"]


@pytest.mark.parametrize(
    "begin",
    [
        *ENDS,
        "set API_TOKEN" + " " * 40,
        "set API_TOKEN" + " " * 8,
        "set" + " -uvwxyz-uvwxyz-uvwxyz" * 3 + " " * 8 + "x" * 60 + "API_TOKEN ",
    ],
)
def test_the_screen_finds_what_the_pattern_does_about_escapes_and_blanks(redactor, anchored, unscreened, begin):
    text = f" {begin}{drawn(24)}7a9\n"
    assert redactor.redact(text) == anchored.redact(text) == unscreened.redact(text)


@pytest.mark.parametrize("escape", ["%20", "%26", "%2B", "%3A", "%3F", "%40", "%5B"])
def test_an_escape_in_the_password_of_an_url_leaves_its_host(redactor, escape):
    assert redactor.redact(f"postgres://admin:S3cr{escape}t9@db.corp.io/x")[0] == "postgres://admin:<PASSWORD>@db.corp.io/x"


@pytest.mark.parametrize(
    "command",
    [
        *("setx API_TOKEN {}", 'setx /M API_TOKEN "{}"', "setenv API_TOKEN {}", "export API_TOKEN {}", "set -gx API_TOKEN '{}'"),
        *("heroku config:set API_TOKEN {}", "heroku config:set API_TOKEN={}", "fly secrets set API_TOKEN={}"),
        *("gh secret set API_TOKEN --body {}", 'gh secret set API_TOKEN -b "{}"', "git config --global github.token {}"),
        *("npm config set //registry.corp.io/:_authToken {}", "pulumi config set --secret dbPassword {}", "mysql -p{}"),
    ],
)
def test_a_value_in_another_word_than_its_name_is_found(redactor, anchored, command):
    value = drawn(22) + "7a9"
    for each in (redactor, anchored):
        assert value not in each.redact(command.format(value))[0]


@pytest.mark.parametrize(
    "text",
    [
        *("set password minimum-length 12345678", "export const tokenize value12345", "set API_TOKEN environment variable"),
        *("git config credential.helper store2345", "set auth type sha256-hmac-v4-signature", "printf('%20s token')"),
        *("config secret name-of-my-secret", "set token_url https://corp.io/v2/tokens", "%20d %3d"),
    ],
)
def test_words_after_a_command_that_sets_are_kept(redactor, text):
    assert redactor.redact(text)[0] == text


ESCAPED = {
    'x = "ask:\\njane@corp.io"': 'x = "ask:\\n<EMAIL>"',
    'x = "\\u003cjane@corp.io\\u003e https://corp.io\\tjoe@corp.io"': 'x = "\\u003c<EMAIL>\\u003e https://corp.io\\t<EMAIL>"',
    'x = "\\nJane Doe <jane@corp.io>"': 'x = "\\n<NAME> <<EMAIL>>"',
    f"env = 'A=1\\nAPI_TOKEN={drawn(32)}\\nB=2'": "env = 'A=1\\nAPI_TOKEN=<KEY>\\nB=2'",
    f"env = 'A: 1\\ntoken: \\'{drawn(32)}\\'\\n'": "env = 'A: 1\\ntoken: \\'<KEY>\\'\\n'",
    f'x = "{{\\"api_key\\": \\"{drawn(32)}\\"}}"': 'x = "{\\"api_key\\": \\"<KEY>\\"}"',
    f'x = "{{\\\\\\"password\\\\\\": \\\\\\"{PASSWORD}\\\\\\"}}"': 'x = "{\\\\\\"password\\\\\\": \\\\\\"<PASSWORD>\\\\\\"}"',
    'ok = "C:\\\\temp\\\\new\\\\user", "\\n@decorator.com"': 'ok = "C:\\\\temp\\\\new\\\\user", "\\n@decorator.com"',
}


@pytest.mark.parametrize("text", ESCAPED, ids=range(len(ESCAPED)))
def test_what_stands_behind_an_escape_is_found_and_the_escape_stays_one(redactor, text):
    assert redactor.redact(text)[0] == ESCAPED[text]
    for address in ("52.94.76.112", "2a00:1450:4001:81b::200e"):
        hidden, found = redactor.redact(f'"\\n{address}\\t"')
        assert found.total() == 1 and address not in hidden and hidden.startswith('"\\n') and hidden.endswith('\\t"')


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_other_secrets_are_found(redactor, kind):
    assert kinds(redactor, OTHERS[kind])[kind] == 1


@pytest.mark.parametrize("kind", sorted(TOKENS | OTHERS))
def test_every_secret_is_found_without_hyperscan(redactor, anchored, kind):
    text = (TOKENS | OTHERS)[kind]
    assert anchored.redact(text) == redactor.redact(text)


@pytest.mark.parametrize("kind", sorted(PLACES))
def test_what_stands_around_a_secret_stays(redactor, kind):
    text, value = PLACES[kind]
    redacted, found = redactor.redact(text.format(value))
    assert found == Counter({kind: 1})
    assert redacted.replace("<KEY>", "<PASSWORD>").rstrip() == text.format("<PASSWORD>").rstrip()


GOLDEN = [
    ("me@corp.io=1", "<EMAIL>=1"),
    ("me@corp.io,you@corp.io", "<EMAIL>,<EMAIL>"),
    (f"k='{TOKENS['github_token']}'", "k='<KEY>'"),
    (f"password='{TOKENS['github_token']}'", "password='<KEY>'"),
    (f'token: "{TOKENS["jwt"]}"', 'token: "<KEY>"'),
    ("postgres://admin:S3cr%40t9@db.corp.io:5432/x", "postgres://admin:<PASSWORD>@db.corp.io:5432/x"),
    ("redis://:p4ssw%21rd@10.0.0.5", "redis://:<PASSWORD>@10.0.0.5"),
    ("пароль: password = 'Pa55wörter!'", "пароль: password = '<PASSWORD>'"),
    ('{"password": "tr0ub4dor&3", "x": 1}', '{"password": "<PASSWORD>", "x": 1}'),
    ('cfg["db_password"] = "tr0ub4dor&3"', 'cfg["db_password"] = "<PASSWORD>"'),
    ('const dbPassword: string = "tr0ub4dor&3";', 'const dbPassword: string = "<PASSWORD>";'),
    ('conn.setPassword("tr0ub4dor&3")', 'conn.setPassword("<PASSWORD>")'),
    ("Signed-off-by: Jane Döe <jane@corp.io>", "Signed-off-by: <NAME> <<EMAIL>>"),
    ("Co-authored-by: J. R. Doe <1+jrd@users.noreply.github.com>", "Co-authored-by: <NAME> <<EMAIL>>"),
    (" * @author Jane Doe\n", " * @author <NAME>\n"),
    ("# Author: Jane Doe, 2021", "# Author: <NAME>, 2021"),
    (f"curl -H 'Authorization: Bearer {drawn(40)}'", "curl -H 'Authorization: Bearer <KEY>'"),
    (f"export API_TOKEN={drawn(32)}\nnext", "export API_TOKEN=<KEY>\nnext"),
    (f"  client_secret: {drawn(32)}\r\nnext", "  client_secret: <KEY>\r\nnext"),
    ('key = """' + PEM + '"""', 'key = """<KEY>"""'),
    ('"' + PEM.replace("\n", "\\n") + '"', '"<KEY>"'),
    (f"//registry.corp.io/:_authToken={uuid()}\n", "//registry.corp.io/:_authToken=<KEY>\n"),
    ("aws_secret_access_key = u4YSxecLVjUbwZ1PX" + "meYuxrJUetblPVXiSUY9Eaf", "aws_secret_access_key = <KEY>"),
    (f"CONSUL_HTTP_TOKEN={uuid()}\n", "CONSUL_HTTP_TOKEN=<KEY>\n"),
    (f"Authorization: Splunk {uuid()}", "Authorization: Splunk <KEY>"),
    (f"APP_KEY=base64:{drawn(43, BASE64)}=\n", "APP_KEY=base64:<KEY>\n"),
    (f"SECRET_KEY = 'django-insecure-{drawn(50, DJANGO)}'", "SECRET_KEY = '<KEY>'"),
    (f"define('AUTH_KEY',         '{drawn(64, WORDPRESS)}');", "define('AUTH_KEY',         '<KEY>');"),
    (f"DB_PASSWORD={drawn(12)}$1!\n", "DB_PASSWORD=<KEY>\n"),
    (f"data:\n  password: {drawn(24)}\n", "data:\n  password: <KEY>\n"),
    (f"Server=h;User ID=sa;Password={PASSWORD};Encrypt=True", "Server=h;User ID=sa;Password=<PASSWORD>;Encrypt=True"),
    (f'dsn = "host=db user=svc password={PASSWORD} dbname=x"', 'dsn = "host=db user=svc password=<PASSWORD> dbname=x"'),
    (f"<ns:apiToken type='x'>{drawn(32)}</ns:apiToken>", "<ns:apiToken type='x'><PASSWORD></ns:apiToken>"),
    (f"machine h login me password {PASSWORD}\n", "machine h login me password <PASSWORD>\n"),
    (f"ALGOLIA_ADMIN_KEY={drawn(32, HEX)}\n", "ALGOLIA_ADMIN_KEY=<KEY>\n"),
]
# How a name and its value stand in one word: batch, docker-compose, systemd, Dockerfiles, shells, CMake, Gradle, Helm, kubectl, code.
WORDS = [
    'set "{}"',
    '@set "{}" & call app',
    '- "{}"',
    "  - '{}'\r",
    '["{}"]',
    '["-e", "{}", "app"]',
    "ENV A=1 {} \\\n  B=2",
    "ARG {}",
    "docker run -e {} app",
    "docker run -e{} app",
    'docker run -e "{}" \\',
    "--env={}",
    "--env {} app",
    "--build-arg='{}' .",
    'export "{}"',
    "export {} # for the app",
    'Environment="A=b" "{}"',
    "Environment={}",
    "env {} ./app",
    'sh -c "{} ./app"',
    'RUN echo \\"{}\\" >> .env',
    'putenv("{}");',
    "cmake -D{} .",
    "gradle -P{}",
    "helm install --set a=1,{},b=2 app",
    "create secret generic app --from-literal={}",
    '"{};Other=1"',
]


@pytest.mark.parametrize("form", WORDS)
def test_a_value_in_one_word_with_its_name_is_found(redactor, form):
    for name, value, written in (
        ("API_TOKEN", drawn(32), "<KEY>"),
        ("vault.api-key", "base64:" + drawn(43, BASE64) + "=", "base64:<KEY>"),
        ("CONSUL_HTTP_TOKEN", uuid(), "<KEY>"),
        ("DB_PASSWORD", PASSWORD, "<PASSWORD>"),
    ):
        assert redactor.redact(form.format(f"{name}={value}"))[0] in {form.format(f"{name}={sign}") for sign in (written, "<KEY>")}


def test_quotes_around_name_and_value_let_every_sign_be_part_of_it(redactor):
    assert redactor.redact(f'- "DB_PASSWORD=a,b(c)1<D9&;{PASSWORD}"')[0] == '- "DB_PASSWORD=<PASSWORD>"'


@pytest.mark.parametrize(("text", "expected"), GOLDEN)
def test_exactly_the_secret_is_replaced(redactor, text, expected):
    assert redactor.redact(text)[0] == expected


ORDINARY = [
    "password = 'password'",
    "password = getpass.getpass('Password: ')",
    "password='hunter2'",
    'password: "changeme"',
    "password = '********'",
    'self.password = "{}".format(x)',
    'password = "${DB_PASSWORD}"',
    "password: '{{ vault_password }}'",
    'password = os.environ["DB_PASSWORD"]',
    "PASSWORD_FIELD = 'user_password_1'",
    "password_url = 'https://corp.io/reset/9f8a7b6c'",
    'pwd = "/home/x1/project"',
    'compass = "Nor7h-West!"',
    "token = 'access_token_v2_name'",
    "tokenizer = 'gpt2-medium-v1.0-2023'",
    'TOKEN_TYPE = "Bearer2Token3Type4"',
    "token_url: 'https://a1.b2.io/t0ken3'",
    "secret_name = 'my-app-secret-2024-prod'",
    'api_key = "YOUR_API_KEY_1234567890"',
    "api_key = 'xxxxxxxxxxxxxxxx1234'",
    "author = 'a1b2c3d4e5f6a7b8c9d0'",
    "client_secret = '123e4567-e89b-12d3-a456-426614174000'",
    "sha256 token: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
    "    token = self._next_token_or_none2()",
    "token = request.headers.get('X-Token-V2')",
    "auth = HTTPBasicAuth2",
    "key = 'abcdefghijklmnop1234'",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "sk-test-1234",
    'if "-----BEGIN RSA PRIVATE ' + 'KEY-----" in text: pass',
    "-----BEGIN PRIVATE " + "KEY-----\n...\n-----END PRIVATE " + "KEY-----",
    "https://user:password@host/",
    "https://{user}:{token}@github.com/x",
    "http://$USER:$PASS@proxy:80",
    "https://user:pass@example.com",
    "https://bob@corp.io/x",
    "http://localhost:8080/a@b",
    "ws://host:8080/?a=@b",
    "jane@example.com",
    "user@host",
    "git@github.com:team/repo.git",
    "x = a@b.T",
    "y = q@k.transpose(0, 1)",
    "@app.route",
    "icon@2x.png",
    "a@b.weight",
    "npm i @scope/pkg@1.2.3",
    "pkg@latest.tgz",
    "foo@bar.baz",
    "@media.print",
    "me@test",
    "root@localhost.localdomain",
    "1.2.3.4",
    "v10.20.30.40",
    "version = '10.20.30.40'",
    'AssemblyVersion("14.12.25.31")',
    "Chrome/91.0.4472.124",
    "pkg==10.20.30.40",
    "10.0.0.1",
    "192.168.1.1",
    "127.0.0.1",
    "0.0.0.0",
    "255.255.255.0",
    "8.8.8.8",
    "203.0.113.7",
    "224.0.0.251",
    "1.3.6.1.4.1.311",
    "section 2.14.3.10",
    "3.10.1.2",
    "::1",
    "fe80::1",
    "2001:db8::1",
    "std::vector::size",
    "12:34:56",
    "2020:01:02 10:11:12",
    "a[2000:3000]",
    "deadbeef::cafe",
    "de:ad:be:ef:00:01",
    "The Author: see below",
    "# Authors: the team",
    "@author jdoe",
    "dns = 8.8.4.4",
    "nameserver 208.67.222.222",
    "resolvers: [94.140.14.14, 2001:4860:4860::8844]",
    "Apache Software Foundation <dev@apache.org>"[:26],
    "List<Map<String, Object>> x",
    "Basic authentication is required here",
    "bearer token_authentication_scheme_name",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "passwordHash = 'pbkdf2_sha256_iterations_36000'",
    "token: str = Field(default='abc')",
    "def auth(token: str = 'none') -> str:",
    "csrf_token = '{% csrf %}'",
    "pass",
    "pass  # noqa",
    "match token:\n    case 'a':",
    "tokens = ['def', 'class', 'return1', 'yield2']",
    "<secret name='db-credentials-v2'/>",
    "<input type='password' name='password' id='id_password1'>",
    "SECRET_KEY = config('SECRET_KEY_BASE_64')",
    'publicKeyToken="1fc8b3b9a1e18e3b"',
    'token = r"[-!#$%&\'*+.^_`|~0-9a-zA-Z]+"',
    "addresses in 2002::/16",
    "123.123.123.123",
    "secretKeyRef: {name: app-secrets-v1, key: k}",
    "tool --password-file /run/secrets/db-password-2",
    "mysql -u root -pPASSWORD app",
    "curl -u user:password https://localhost",
    "curl -u $USER:$PASSWORD https://localhost",
    "if (password == other.password && user = 1)",
    "Server=h;User ID=sa;Password=${DB_PASSWORD};Encrypt=True",
    "Server=h;User ID=sa;Password=password;Encrypt=True",
    "<password>${env.PASSWORD}</password>",
    "<label>password</label><token>identifier</token>",
    '<add key="PasswordLength" value="12345678901" />',
    "login user password prompt",
    f"    certificate-authority-data: {encoded('-----BEGIN ' + 'CERTIFICATE-----' + drawn(200))}",
    "MyVeryLongClassNameHereAbc.method.anotherVeryLongIdentifierNameHere",
    f"id = '{uuid()}'\nrequest_id = '{uuid('b')}'",
    f"X-Request-Id: {uuid()}",
    "a.c:12:34:error:expected1",
    'variable "db_password" {\n  type = string\n}\nvariable "region" {\n  default = "eu-central-1"\n}',
    "def token_pattern(): return '(?:[a-z]+://)?[A-Z0-9._%+-]{1,64}@x'",
    "ENV PASSWORD_FILE /run/secrets/db1",
    '- "API_TOKEN=${API_TOKEN}"',
    '- "API_TOKEN=$API_TOKEN_2_STAGING"',
    '- "DB_PASSWORD=changeme"',
    'Environment="DB_PASSWORD_FILE=/run/secrets/Db-1"',
    "docker run -e API_TOKEN=YOUR_API_TOKEN_12345 app",
    "docker run -e DB_PASSWORD=password123 app",
    "docker run -e API_TOKEN=<token> app",
    'f"token={self.token1[0]}&x={y2}"',
    "login(user, token=self.t0kens[1].Va1ue, x=2)",
    "login(user, token = t0ken_of_2nd_user )",
    'raise ValueError("password=None, token=None, id=1a2b3c4d5e")',
    'x = "tokenizer=gpt2-medium-v1.0-2023b4"',
    "set -DAUTH_KEY_SIZE=4096 -DTOKEN_URL=https://a1.B2.io",
    "cmake -DSSL_AUTH_PASS_TEST=OpenSSL-3.0.2 .",
    "'token=%s&password=%s1A!' % (a, b)",
    f'git fetch --token-commit sha1 "token={drawn(40, HEX)}"',
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_code_stays_as_it_is(redactor, text):
    assert redactor.redact(text) == (text, Counter())


def test_same_values_get_the_same_address_and_it_is_a_private_one(redactor):
    text, found = redactor.redact("hosts: 52.94.76.112, 52.94.76.112, 151.101.1.140\nand [2a00:1450:4001:81b::200e]\n")
    first, second, _ = text.removeprefix("hosts: ").split("\n")[0].split(", ")
    assert first == second != "52.94.76.112"
    assert found == {"ipv4": 3, "ipv6": 1}
    assert redactor.redact(text) == (text, Counter())


def test_all_texts_of_a_change_are_redacted_and_counted():
    tally = Tally()
    item = Change(Origin("r", "c", "a.py"), "Python", "Ask jane@corp.io", "her = 'jane@corp.io'\n", "his = 'joe@corp.io'\n")
    redacted = redact_item(item, Redactor(), tally)
    assert isinstance(redacted, Change)
    assert (redacted.message, redacted.before, redacted.after) == ("Ask <EMAIL>", "her = '<EMAIL>'\n", "his = '<EMAIL>'\n")
    assert tally.redactions == {"email": 3}
    assert redacted.origin == item.origin


def test_a_file_keeps_its_origin_and_language():
    item = SourceFile(Origin("r", "c", "a.py", "MIT"), "Python", "x = 'jane@corp.io'")
    assert redact_item(item, Redactor(), Tally()) == SourceFile(item.origin, "Python", "x = '<EMAIL>'")


def test_allowed_values_stay():
    redactor = Redactor(allow=("support@corp.io", TOKENS["github_token"], "postgres://bob:tr0ub4dor@db.corp.io"))
    text = f"support@corp.io {TOKENS['github_token']} postgres://bob:tr0ub4dor@db.corp.io"
    assert redactor.redact(text) == (text, Counter())
    assert redactor.redact("jane@corp.io")[0] == "<EMAIL>"


def test_overlapping_spans_become_one_and_adjacent_ones_stay_two():
    rule = {rule.kind: rule for rule in RULES}
    merged = merge([Span(0, 4, rule["email"]), Span(2, 8, rule["github_token"]), Span(8, 9, rule["ipv4"])])
    assert [(span.start, span.end, span.rule.kind) for span in merged] == [(0, 8, "github_token"), (8, 9, "ipv4")]


def test_code_around_a_secret_can_still_be_parsed(redactor):
    lines = [f"k{i} = {value!r}" for i, value in enumerate([*TOKENS.values(), PEM, "jane@corp.io", "52.94.76.112"])]
    lines += [
        "login(user='bob', password='tr0ub4dor&3')",
        f"d = {{'api_key': '{drawn(32)}', 'n': [1, 2]}}",
        f"KEY = (\n    '{TOKENS['jwt']}'\n)",
    ]
    text = "\n".join(lines)
    redacted, found = redactor.redact(text)
    assert found.total() == len(lines)
    before, after = (ast.dump(ast.parse(code)) for code in (text, redacted))
    assert before.count("Constant") == after.count("Constant")


pieces = st.one_of(
    st.sampled_from([*TOKENS.values(), *OTHERS.values(), *(text for text, _ in GOLDEN)]),
    st.sampled_from([" ", "\n", "'", '"', "=", ":", ",", "<", "@", "é", "漢", "\U0001f600", "-", "\\", "\\n", "\\u003c", " " * 30]),
    st.sampled_from([*PERCENT, *ENDS, "?", "&", "key", "sig", "set API_TOKEN", "-u a:", "https://a:", "@b.io", drawn(9), drawn(24)]),
    st.text(max_size=12),
)
texts = st.lists(pieces, max_size=12).map("".join)


@settings(max_examples=200, deadline=None)
@given(text=texts)
@example(text="password = 'ééééééééé1Aé'")
def test_the_screen_changes_nothing_but_the_speed(redactor, anchored, unscreened, text):
    assert redactor.redact(text) == anchored.redact(text) == unscreened.redact(text)


def test_the_screen_changes_nothing_on_real_files(redactor, unscreened):
    """Every twentieth file of the standard library, with a line of settings put into each."""
    paths = sorted(Path(ast.__file__).parent.glob("*.py"))[::20]
    assert len(paths) > 5
    for place, path in enumerate(paths):
        lines = path.read_text(encoding="utf-8").split("\n")
        lines.insert(len(lines) // 2, list(OTHERS.values())[place % len(OTHERS)])
        text = "\n".join(lines)
        assert redactor.redact(text) == unscreened.redact(text), path


@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_what_is_redacted_stays_valid_text(redactor, text):
    redacted, found = redactor.redact(text)
    redacted.encode()
    assert (found.total() > 0) == (redacted != text)


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200))
def test_text_without_a_secret_comes_back_itself(redactor, text):
    redacted, found = redactor.redact(text)
    assert (redacted != text) == bool(found)


@pytest.mark.parametrize(
    "line",
    [
        "a" * 50_000,
        "a." * 25_000,
        "a@" * 25_000,
        "1." * 25_000,
        "token" * 10_000,
        "token=" * 8_000,
        "://" * 16_000,
        "://a:" * 10_000,
        "A " * 25_000,
        "-----BEGIN RSA PRIVATE " + "KEY-----" + "A" * 50_000,
        ("-----BEGIN RSA PRIVATE " + "KEY-----\n") * 300,
        "2001:" * 10_000,
        "eyJ" * 16_000,
        "password='" * 5_000,
        "sk-" * 16_000,
        "\\n" * 25_000,
        "aws_secret" * 5_000,
        "Aa " * 16_000 + "<a@b.io>",
        "login a password " * 3_000,
        'variable "password" { default = ' * 1_600,
        "mysql -pa " * 5_000,
        "<token:password " * 3_000,
        "--token-password-" * 3_000,
        "-u a:" * 10_000,
        "?token=a&sig=" * 4_000,
        "Private-Lines: 1\n" * 3_000,
        "LS0tLS1CRUdJTi" * 3_600,
        "x-key-api-key: " * 3_000,
        "a.corp:5432:a:b:" * 3_000,
        "password=a;user=" * 3_000,
        "$6$rounds=1$" * 4_000,
        "M" * 24 + ".abcdef." * 6_000,
        " pass" * 10_000,
        '"token=a,' * 5_500,
        "-Dtoken=a;a=" * 4_000,
        "'" + "pass" * 12_000 + "=",
    ],
)
def test_hostile_text_takes_no_long_time(unscreened, line):
    started = time.process_time()
    unscreened.redact(line)
    unscreened.redact(line + " jane@corp.io 52.94.76.112 " + OTHERS["generic_secret"])
    assert time.process_time() - started < 5  # hundredths of a second, or minutes


def test_the_rank_of_a_rule_is_its_place():
    assert [RANKS[rule.kind] for rule in RULES] == list(range(len(RULES)))
