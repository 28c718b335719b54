"""Made-up secrets of every kind, put together when they are asked for: none is written down, and none was ever real."""

from __future__ import annotations

import base64
import hashlib

ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
HEX = "0123456789abcdef"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SMALL = "abcdefghijklmnopqrstuvwxyz0123456789"
DIGITS = "9182736450"
BASE64 = ALPHANUMERIC + "+/"


def drawn(size: int, alphabet: str = ALPHANUMERIC, seed: str = "") -> str:
    """Characters that look drawn at random."""
    blocks = (hashlib.sha256(f"{seed}{size}{block}".encode()).digest() for block in range(size // 32 + 1))
    return "".join(alphabet[byte % len(alphabet)] for block in blocks for byte in block)[:size]


def uuid(seed: str = "") -> str:
    """A UUID of version 4."""
    return f"{drawn(8, HEX, seed)}-{drawn(4, HEX, seed)}-4{drawn(3, HEX, seed)}-a{drawn(3, HEX, seed)}-{drawn(12, HEX, seed)}"


def pem(what: str = "RSA ") -> str:
    """A private key as PEM."""
    body = "\n".join(drawn(64, BASE64, str(line)) for line in range(6))
    return f"-----BEGIN {what}PRIVATE " + f"KEY-----\n{body}\n-----END {what}PRIVATE " + "KEY-----"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# Kind of a rule -> a token of its form.
VENDORS = {
    "google_refresh": "1//0" + drawn(98),
    "google_hmac": "GOOG1E" + drawn(55, CAPITALS),
    "google_express": "AQ.Ab" + drawn(48),
    "firebase_key": "AAAA" + drawn(7) + ":APA91b" + drawn(134),
    "aws_session": "IQoJb3JpZ2lu" + drawn(400, BASE64) + "==",
    "aws_bedrock": "ABSK" + drawn(108, BASE64),
    "azure_devops": drawn(76, SMALL) + "AZDO" + drawn(4),
    "azure_ai": drawn(52) + "JQQJ99" + drawn(26),
    "alibaba_key": "LTAI5t" + drawn(18),
    "tencent_key": "AKID" + drawn(32),
    "yandex_key": "AQVN" + drawn(36),
    "cloudflare_origin": "v1.0-" + drawn(24, HEX) + "-" + drawn(146, HEX),
    "heroku_key": "HRKU-AA" + drawn(58),
    "netlify_token": "nfp_" + drawn(36),
    "supabase_key": "sb_secret_" + drawn(22) + "_" + drawn(8),
    "planetscale_key": "pscale_tkn_" + drawn(43),
    "neon_key": "napi_" + drawn(64, SMALL),
    "fly_token": "fm2_" + drawn(200, BASE64),
    "terraform_token": drawn(14) + ".atlasv1." + drawn(67),
    "pulumi_token": "pul-" + drawn(40, HEX),
    "doppler_token": "dp.pt." + drawn(43),
    "onepassword_token": "ops_eyJ" + drawn(300, BASE64),
    "gitlab_runner": "GR1348941" + drawn(20),
    "circleci_token": "CCIPAT_" + drawn(22) + "_" + drawn(40, HEX),
    "buildkite_token": "bkua_" + drawn(40, HEX),
    "rubygems_key": "rubygems_" + drawn(48, HEX),
    "crates_token": "cio" + drawn(32),
    "clojars_token": "CLOJARS_" + drawn(60, HEX),
    "nuget_key": "oy2" + drawn(43, SMALL),
    "jfrog_token": "AKCp" + drawn(69),
    "sonar_token": "sqp_" + drawn(40, HEX),
    "postman_key": "PMAK-" + drawn(24, HEX) + "-" + drawn(34, HEX),
    "figma_token": "figd_" + drawn(40),
    "sentry_token": "sntryu_" + drawn(64, HEX),
    "new_relic_licence": drawn(36, HEX) + "FFFF" + "NRAL",
    "dynatrace_token": "dt0c01." + drawn(24, CAPITALS) + "." + drawn(64, CAPITALS),
    "launchdarkly_key": "sdk-" + uuid(),
    "deepseek_key": "sk-" + drawn(32, HEX),
    "openrouter_key": "sk-or-v1-" + drawn(64, HEX),
    "groq_key": "gsk_" + drawn(52),
    "replicate_token": "r8_" + drawn(37),
    "xai_key": "xai-" + drawn(80),
    "perplexity_key": "pplx-" + drawn(48),
    "nvidia_key": "nvapi-" + drawn(64),
    "langsmith_key": "lsv2_pt_" + drawn(32, HEX) + "_" + drawn(10, HEX),
    "pinecone_key": "pcsk_" + drawn(5) + "_" + drawn(63),
    "elevenlabs_key": "sk_" + drawn(48, HEX),
    "tavily_key": "tvly-dev-" + drawn(32),
    "cerebras_key": "csk-" + drawn(48, SMALL),
    "jina_key": "jina_" + drawn(60),
    "fireworks_key": "fw_" + drawn(24),
    "voyage_key": "pa-" + drawn(43),
    "discord_token": encoded("918273645546372819") + "." + drawn(6) + "." + drawn(38),
    "discord_webhook": "https://discord.com/api/webhooks/918273645546372819/" + drawn(68),
    "teams_webhook": f"https://acme.webhook.office.com/webhookb2/{uuid('a')}@{uuid('b')}/IncomingWebhook/{drawn(32, HEX)}/{uuid('c')}",
    "mailchimp_key": drawn(32, HEX) + "-us12",
    "brevo_key": "xkeysib-" + drawn(64, HEX) + "-" + drawn(16),
    "resend_key": "re_" + drawn(8) + "_" + drawn(24),
    "mapbox_token": "sk.eyJ" + drawn(60) + "." + drawn(22),
    "notion_key": "ntn_" + drawn(46),
    "airtable_token": "pat" + drawn(14) + "." + drawn(64, HEX),
    "asana_token": f"2/{drawn(16, DIGITS)}/{drawn(16, DIGITS, 'b')}:{drawn(32, HEX)}",
    "dropbox_token": "sl.u." + drawn(140),
    "typeform_token": "tfp_" + drawn(44) + "_" + drawn(14),
    "contentful_token": "CFPAT-" + drawn(43),
    "meta_token": "EAA" + drawn(150),
    "shippo_token": "shippo_live_" + drawn(40, HEX),
    "braintree_token": "access_token$production$" + drawn(16, SMALL) + "$" + drawn(32, HEX),
}
PASSWORD = drawn(12) + "!9"
# Kind of a rule -> a text that it finds something in, {} where the secret stands, and the secret.
PLACES = {
    "azure_marked": ('key = "{}"', drawn(76, BASE64) + "+ASt" + drawn(6) + "=="),
    "connection_password": ("jdbc:sqlserver://h:1433;databaseName=x;user=sa;password={};encrypt=true", PASSWORD),
    "dsn_password": ('sql.Open("mysql", "svc:{}@tcp(db:3306)/x")', PASSWORD),
    "url_token_key": ("git clone https://{}@git.corp.io/a/b.git", drawn(40, HEX)),
    "query_key": ("https://a.blob.core.windows.net/c?sv=2024-05-04&sr=c&sig={}", drawn(42) + "%3D"),
    "otp_key": ("otpauth://totp/corp:jane?secret={}&issuer=corp", drawn(32, UPPER)),
    "header_key": ('curl -H "X-Api-Key: {}" h', drawn(32)),
    "flag_key": ("tool login --token={} --verbose", drawn(32)),
    "set_key": ("setx /M API_TOKEN {}", drawn(20)),
    "command_password": ("mysql -u root -p{} app", PASSWORD),
    "oracle_password": ("jdbc:oracle:thin:svc/{}@//db.corp.io:1521/app", PASSWORD),
    "user_password": ("curl -u svc:{} https://api.corp.io", PASSWORD),
    "given_password": ('new NetworkCredential("svc", "{}")', PASSWORD),
    "spaced_password": ("storePassword '{}'", PASSWORD),
    "docker_password": ("FROM x\nENV DB_PASSWORD {}\n", drawn(16)),
    "element_password": ("<server><password>{}</password></server>", PASSWORD),
    "attribute_password": ('<add key="ClearTextPassword" value="{}" />', PASSWORD),
    "netrc_password": ("machine git.corp.io\n  login me\n  password {}\n", PASSWORD),
    "pgpass_password": ("db.corp.io:5432:app:svc:{}\n", PASSWORD),
    "terraform_password": ('variable "db_password" {{\n  type = string\n  default = "{}"\n}}', PASSWORD),
    "hashed_password": ("admin:{}", "$2y$10$" + drawn(53)),
    "registry_key": ("RUN echo '//npm.corp.io/:_authToken={}' > .npmrc", drawn(36)),
    "aws_pair_key": ("jane,AKIA" + 4 * "23BC" + ",{}", drawn(40, BASE64)),
    "escaped_link_password": ("next=https%3A%2F%2Fdeploy%3A{}%40git.corp.io%2Fa.git&x=1", drawn(14)),
    "escaped_password": ("body=user%3Dsvc%26password%3D{}%26grant%3D1", drawn(14)),
    "escaped_key": ("q=%7B%22api_key%22%3A%22{}%22%2C%22x%22%3A1%7D", drawn(32)),
    "paired_key": ("env:\n  - name: DB_PASSWORD\n    value: {}\n", PASSWORD),
    "kubernetes_secret": ("kind: Secret\ndata:\n  conn: {}\ntype: Opaque\n", encoded(f"postgres://svc:{PASSWORD}@db/app")),
    "putty_key": ("Private-Lines: 1\n{}\nPrivate-MAC: 0", drawn(48, BASE64)),
    "encoded_private_key": ("    client-key-data: {}", encoded(pem())),
}
