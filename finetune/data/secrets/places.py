"""Secrets told by where they stand: connection strings, command lines, headers, markup, and the files that keep them."""

from __future__ import annotations

from finetune.data.secrets import confirm, decoded
from finetune.data.secrets.named import PASS, REST, SECRET
from finetune.data.secrets.rule import Confirm, Placeholder, Rule, compiled

NAMED = f"(?:{PASS}|{SECRET})"
QUERY = r"(?:[a-z0-9_-]{0,20}(?:token|secret|password|api_?key)|key|sig|signature|code)"
BLANKS = r"[ \t]{1,8}"
HASH = r"[./A-Za-z0-9]"
ROUNDS = r"(?:rounds=[0-9]{1,9}\$)?"
CRYPT = (
    rf"\$(?:2[abxy]\$[0-9]{{2}}\${HASH}{{53}}|(?:1|apr1)\${HASH}{{1,8}}\${HASH}{{22}}|5\${ROUNDS}{HASH}{{1,16}}\${HASH}{{43}}"
    rf"|6\${ROUNDS}{HASH}{{1,16}}\${HASH}{{86}}|y\${HASH}{{1,4}}\${HASH}{{1,24}}\${HASH}{{43}})"
    r"|\{(?:SHA|SSHA(?:256|384|512)?)\}[A-Za-z0-9+/]{27,120}={0,2}"
)
HEADER = r"(?:x-[a-z-]{0,24}(?:key|token|secret)|[a-z-]{0,20}api-?key|(?:private|job|deploy)-token|(?:proxy-)?authorization)"
ARGUMENT = r"[\"'][^\"'\n]{0,80}[\"'],[ \t]*"  # an argument before the one that is looked for: a host, an user
GIVEN = (
    r"(?:securestring[ \t]+(?:-(?:string|asplaintext|force)[ \t]+){0,3}"
    rf"|(?:networkcredential|\.login|http(?:basic|digest)auth)\({ARGUMENT}|\bauth ?= ?\({ARGUMENT}"
    rf"|(?:mysqli(?:_connect)?|new pdo|getconnection)\({ARGUMENT}{ARGUMENT})"
)


def place(kind: str, anchors: str, screen: str, pattern: str, sure: Confirm, *, one_line: bool = True) -> Rule:
    """A rule of this file; `anchors` apart by spaces, none where the pattern takes letters of either case."""
    placeholder: Placeholder = "<KEY>" if kind.endswith("_key") else "<PASSWORD>"
    return Rule(kind, placeholder, tuple(anchors.split()), screen, compiled(pattern), sure, one_line)


PLACES = (
    place(
        "connection_password",
        "",
        r"(?i)(?:password|passwd|pwd) ?= ?\{?[^\s;&\"'`<>(){},$%\\]{6}",
        r"(?i)(?<![A-Za-z0-9_])(?:password|passwd|pwd) ?= ?\{?(?P<value>[^\s;&\"'`<>(){},$%\\]{6,100})(?=[;&\"'`}\s]|\Z)",
        confirm.connection_password,
    ),
    place(
        "dsn_password",
        "@tcp( @unix(",
        r":[^\s:@\"'`/]{3,100}@(?:tcp|unix)\(",
        r"(?<![A-Za-z0-9_.-])(?P<user>[A-Za-z0-9_.-]{1,40}):(?P<value>[^\s:@\"'`/]{3,100})@(?:tcp|unix)\((?P<host>[^)\s]{0,100})",
        confirm.url_password,
    ),
    place(
        "url_token_key",
        "://",
        r"://[A-Za-z0-9_-]{30,120}@",
        r"://(?P<value>[A-Za-z0-9_-]{30,120})@(?P<host>[A-Za-z0-9.-]{1,200})",
        confirm.random_value,
    ),
    place(
        "otp_key",
        "otpauth://",
        r"otpauth://[^\s\"'`]{1,200}secret=",
        r"otpauth://[^\s\"'`]{1,200}?secret=(?P<value>[A-Z2-7]{16,64})",
        confirm.unlike_placeholder,
    ),
    place(
        "query_key",
        "",
        rf"(?i)(?:[?&]|%3f|%26){QUERY}(?:=|%3d)[A-Za-z0-9_%.~+/=-]{{16}}",
        # In a link in a link the next setting stands behind %26; what base64 needs of escapes, and a percent sign, are parts of the value.
        rf"(?i)(?:[?&]|%3f|%26){QUERY}(?:=|(?P<within>%3d))(?P<value>(?:[A-Za-z0-9_.~+/=-]|%(?(within)(?=2[5bf]|3d))){{16,300}})",
        confirm.random_value,
    ),
    place(
        "header_key",
        "",
        rf"(?i){HEADER}[\"']? ?[:=,] ?[\"']?[A-Za-z0-9+/=_.~-]",
        rf"(?i)(?<![A-Za-z0-9-]){HEADER}[\"']? ?[:=,] ?[\"']?(?:(?:apikey|api-key|basic|bearer|bot|geniekey|key|splunk|ssws|token) )?"
        r"(?P<value>[A-Za-z0-9+/=_.~-]{16,500})",
        confirm.random_or_uuid,
    ),
    place(
        "flag_key",
        "",
        rf"(?i)-[a-z0-9-]{{0,20}}{NAMED}[a-z0-9-]{{0,20}}(?:=|[ \t]+)[\"']?[A-Za-z0-9+/=_.~@!#%^*-]{{8}}",
        rf"(?i)(?<![A-Za-z0-9-])--?(?:[a-z0-9]{{1,20}}-){{0,3}}(?:key|store)?{NAMED}[a-z0-9-]{{0,20}}(?:=|[ \t]+)[\"']?"
        r"(?P<value>[A-Za-z0-9+/=_.~@!#%^*-]{8,300})",
        confirm.flag,
    ),
    place(
        "set_key",
        "",
        rf"(?i)(?:setx|setenv|export|set|config)[ \t][^\n]{{0,160}}{NAMED}{REST}[\"']?[ \t][^\n]{{0,36}}[A-Za-z0-9+/=_.~@!#%^*:-]{{8}}",
        rf"(?i)(?<![A-Za-z0-9_-])(?:setx|setenv|export|set|config)(?:{BLANKS}[-/]{{1,2}}[a-z-]{{1,20}}){{0,3}}{BLANKS}[\"']?"
        rf"(?P<name>[a-z0-9_.:/-]{{0,60}}?{NAMED}{REST})[\"']?{BLANKS}(?:--?[a-z-]{{1,16}}(?:=|{BLANKS}))?[\"']?"
        r"(?P<value>[A-Za-z0-9+/=_.~@!#%^*:-]{8,300})",
        confirm.flag,
    ),
    place(
        "command_password",
        "mysql sshpass login redis-cli pass:",
        r"(?:mysql[^\n|;&]{0,200}[ \t]-p|sshpass[ \t]+-p|login[ \t][^\n|;&]{0,200}[ \t]-p[ \t=]|login[ \t]-p[ \t=]"
        r"|redis-cli[ \t][^\n|;&]{0,200}[ \t]-a[ \t]|redis-cli[ \t]-a[ \t]|-pass(?:in|out)?[ \t=]{1,4}[\"']?pass:)",
        r"(?:\bmysql(?:dump|admin|import|show)?[ \t](?:[^\n|;&]{0,200}?[ \t])?-p|\bsshpass[ \t]+-p[ \t]*"
        r"|\blogin[ \t](?:[^\n|;&]{0,200}?[ \t])?-p(?:[ \t]+|=)|\bredis-cli[ \t](?:[^\n|;&]{0,200}?[ \t])?-a[ \t]+"
        r"|-pass(?:in|out)?[ \t=]{1,4}[\"']?pass:)[\"']?(?P<value>[^\s\"'`$|;&]{6,100})",
        confirm.strong,
    ),
    place(
        "oracle_password",
        "sqlplus oracle:",
        r"(?:sqlplus[^\n|;&]{0,60}[ \t]|oracle:(?:thin|oci8?):)[A-Za-z0-9_.#$-]{1,40}/[^\s\"'`$|;&@/]{6,100}@",
        r"(?:\bsqlplus[^\n|;&]{0,60}?[ \t]|oracle:(?:thin|oci8?):)[A-Za-z0-9_.#$-]{1,40}/(?P<value>[^\s\"'`$|;&@/]{6,100})(?=@)",
        confirm.strong,
    ),
    place(
        "user_password",
        "-u",
        r"-(?:u|-user|-proxy-user)[ =]{1,2}[\"']?[A-Za-z0-9_.@+-]{1,80}:[^\s\"'`@\\]{6}",
        r"(?<![A-Za-z0-9-])(?:-u|--user|--proxy-user)[ =]{1,2}[\"']?[A-Za-z0-9_.@+-]{1,80}:(?P<value>[^\s\"'`@\\]{6,200})",
        confirm.strong,
    ),
    place(
        "given_password",
        "",
        rf"(?i){GIVEN}[\"'][^\s\"']{{6}}",
        rf"(?i){GIVEN}[\"'](?P<value>[^\s\"'\\]{{6,100}})[\"']",
        confirm.strong,
    ),
    place(
        "spaced_password",
        "",
        rf"(?i){PASS}{REST}[ \t]{{1,8}}[\"'][^\s\"'\\]{{8}}",
        rf"(?i){PASS}{REST}[ \t]{{1,8}}(?P<quote>[\"'])(?P<value>[^\s\"'\\]{{8,100}})(?P=quote)",
        confirm.password,
    ),
    place(
        "docker_password",
        "ENV env ARG arg",
        rf"(?i)(?:ENV|ARG)[ \t]{{1,4}}[A-Z0-9_]{{0,40}}{NAMED}{REST}[ \t]{{1,4}}[^\s\"'=]{{8}}",
        rf"(?im)^[ \t]*(?:ENV|ARG)[ \t]{{1,4}}[A-Z0-9_]{{0,40}}?{NAMED}{REST}[ \t]{{1,4}}(?P<value>[^\s\"'=]{{8,300}})[ \t]*\r?$",
        confirm.unquoted,
    ),
    place(
        "element_password",
        "",
        rf"(?i)<[a-z0-9_.:-]{{0,51}}{NAMED}[^<>]{{0,221}}>[^<>\s]{{6}}",
        rf"(?i)<(?:[a-z0-9_]{{1,20}}:)?(?P<name>[a-z0-9_.-]{{0,30}}{NAMED}[a-z0-9_.-]{{0,20}})"
        r"(?:[ \t][^<>]{0,200})?>(?P<value>[^<>\s]{6,300})</",
        confirm.named_in_markup,
    ),
    place(
        "attribute_password",
        "",
        rf"(?i)(?:key|name)=\"[^\"<>\n]{{0,60}}{NAMED}[^\"<>\n]{{0,20}}\"[ \t]{{1,8}}value=\"[^\"<>\s]{{6}}",
        rf"(?i)(?:key|name)=\"(?P<name>[^\"<>\n]{{0,60}}?{NAMED}[^\"<>\n]{{0,20}})\"[ \t]{{1,8}}value=\"(?P<value>[^\"<>\s]{{6,300}})\"",
        confirm.named_in_markup,
    ),
    place(
        "netrc_password",
        "login",
        r"login[ \t]{1,8}[^\s]{1,100}\s{1,20}(?:account[ \t]+[^\s]{1,100}\s{1,20})?password[ \t]",
        r"\blogin[ \t]{1,8}[^\s]{1,100}\s{1,20}(?:account[ \t]+[^\s]{1,100}\s{1,20})?password[ \t]{1,8}(?P<value>[^\s\"'`]{6,200})",
        confirm.strong,
        one_line=False,
    ),
    place(
        "pgpass_password",
        ":",
        r":(?:[0-9]{4,5}|\*):[A-Za-z0-9_*.-]{1,60}:[A-Za-z0-9_*.-]{1,60}:[^\s:]{8}",
        r"(?m)^[A-Za-z0-9_.*-]{1,100}:(?:[0-9]{4,5}|\*):[A-Za-z0-9_*.-]{1,60}:[A-Za-z0-9_*.-]{1,60}:(?P<value>[^\s:]{8,100})[ \t]*\r?$",
        confirm.strong,
    ),
    place(
        "terraform_password",
        "variable",
        rf"(?i)variable[ \t]+\"[^\"\n]{{0,60}}{NAMED}",
        rf"(?i)\bvariable[ \t]+\"[^\"\n]{{0,60}}?{NAMED}{REST}\"[ \t]*"
        r"\{[^{}]{0,400}?\bdefault[ \t]*=[ \t]*\"(?P<value>[^\s\"]{6,300})\"",
        confirm.strong,
        one_line=False,
    ),
    place(
        "registry_key",
        ":_auth :_password",
        r":_(?:auth(?:Token)?|password)[ \t]{0,4}=[ \t]{0,4}[\"']?[A-Za-z0-9+/=_.~-]{8}",
        r":_(?:auth(?:Token)?|password)[ \t]{0,4}=[ \t]{0,4}[\"']?(?P<value>[A-Za-z0-9+/=_.~-]{8,500})",
        confirm.random_or_uuid,
    ),
    place(
        "aws_pair_key",
        "AKIA ASIA",
        r"(?:AKIA|ASIA)[A-Z2-7]{16}[\"']?[,:; \t][ \t\"']{0,4}[A-Za-z0-9/+]{12}",
        r"(?:AKIA|ASIA)[A-Z2-7]{16}[\"']?[,:; \t][ \t\"']{0,4}(?P<value>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        confirm.aws_secret,
    ),
    place(
        "hashed_password", "$2 $1$ $apr1$ $5$ $6$ $y$ {SHA} {SSHA", CRYPT, rf"(?P<value>{CRYPT})(?![A-Za-z0-9])", confirm.unlike_placeholder
    ),
    place(
        "putty_key",
        "Private-Lines:",
        r"Private-Lines: [0-9]",
        r"Private-Lines: [0-9]{1,3}\r?\n(?P<value>(?:[A-Za-z0-9+/=]{4,76}\r?\n){0,200}[A-Za-z0-9+/=]{4,76})(?=\r?\n|\Z)",
        confirm.unlike_placeholder,
        one_line=False,
    ),
    place(
        "encoded_private_key",
        "LS0tLS1CRUdJTi",
        r"LS0tLS1CRUdJTi",
        r"(?<![A-Za-z0-9+/])(?P<value>LS0tLS1CRUdJTi[A-Za-z0-9+/]{100,20000}={0,2})",
        decoded.encoded_private_key,
    ),
)
