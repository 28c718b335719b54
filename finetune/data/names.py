"""Names that tell where a file comes from: other people, or a tool."""

from __future__ import annotations

import re

# Folders that hold other people's code, and files that are copied in whole.
FOREIGN_FOLDER = re.compile(
    r"(?:^|/)(?:node_modules|bower_components|jspm_packages|vendor(?:ed|s)?|_vendor(?:ed)?|third[-_]?party|3rd[-_]?party|externals?|extern"
    r"|Godeps|Pods|Carthage/(?:Build|Checkouts)|site-packages|dist-packages|gems|vendor/bundle|\.bundle|\.yarn/(?:releases|plugins|sdks)"
    r"|\.venv|virtualenv|\.tox|\.nox|\.eggs|__pypackages__|\.gradle|\.mvn/wrapper|gradle/wrapper|\.cargo/registry|bundled[-_]deps)/|^(?:deps|dependencies)/",
    re.IGNORECASE,
)
FOREIGN_FILE = re.compile(
    r"(?:^|/)(?:jquery(?:[-.]\d[\w.]*|[-.](?:ui|slim|migrate)[\w.-]*)?|bootstrap(?:\.bundle)?|angular|react(?:-dom)?|vue|d3(?:\.v\d+)?|lodash|underscore"
    r"|backbone|moment|modernizr[\w.-]*|prototype|require|ember|normalize|font-awesome|html5shiv|respond)(?:[.-]\d[\w.-]*)?(?:[.-]min|\.slim)*\.(?:js|css)$"
    r"|(?:^|/)(?:gradlew(?:\.bat)?|mvnw(?:\.cmd)?|config\.(?:guess|sub)|install-sh|ltmain\.sh|missing|depcomp|versioneer\.py|ez_setup\.py"
    r"|get-pip\.py|cpplint\.py|erlang\.mk|aclocal\.m4|libtool\.m4|lt(?:options|sugar|version|~obsolete)\.m4|catch\.hpp|gtest(?:-all)?\.(?:h|cc)|sqlite3\.[ch]|stb_\w+\.h|miniz\.[ch])$"
)

GENERATED_NAME = re.compile(
    r"(?:^|/)(?:package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lock|deno\.lock|composer\.lock|Gemfile\.lock"
    r"|Pipfile\.lock|poetry\.lock|pdm\.lock|uv\.lock|pixi\.lock|Cargo\.lock|go\.sum|go\.work\.sum|mix\.lock|pubspec\.lock|Podfile\.lock"
    r"|Package\.resolved|flake\.lock|packages\.lock\.json|gradle\.lockfile|conan\.lock|\.terraform\.lock\.hcl|Chart\.lock|elm-stuff/.*)$"
    r"|_pb2(?:_grpc)?\.pyi?$|\.pb(?:\.gw|\.validate)?\.(?:go|cc|h|swift|dart)$|_grpc\.pb\.go$|\.pb\.gw\.go$|(?:_pb|_grpc_pb|_pb_service)\.(?:js|d\.ts|ts)$"
    r"|\.(?:g|freezed|gr)\.dart$|\.designer\.(?:cs|vb)$|\.g(?:\.i)?\.cs$|\.generated\.\w+$|_generated\.\w+$|(?:^|/)(?:zz_generated\.\w+|bindata)\.go$"
    r"|(?:^|/)__generated__/|\.snap$|(?:^|/)(?:parser\.tab\.[ch]|lex\.yy\.c|y\.tab\.[ch])$|\.(?:js|css)\.map$",
    re.IGNORECASE,
)
MINIFIED_NAME = re.compile(r"[.-]min\.(?:js|mjs|cjs|css)$|\.(?:bundle|chunk)\.(?:js|css)$", re.IGNORECASE)
TEMPLATE_NAME = re.compile(r"\.(?:go)?(?:tmpl|tpl|j2|jinja2?|erb|ejs|mustache|hbs|handlebars|mako|in|t4|tt|liquid|ftl|vm)$", re.IGNORECASE)
TEST_NAME = re.compile(
    r"(?:^|/)(?:tests?|testing|testdata|__tests__|specs?|e2e|fixtures|conftest\.py|src/(?:\w*[tT]est\w*)/(?:java|kotlin|scala))(?:/|$)"
    r"|(?:^|/)(?:test_[^/]*|[^/]*_tests?|[^/]*_spec)\.\w+$|[^/]*\.(?:test|spec|cy)\.\w+$"
)
TEST_CLASS = re.compile(r"(?:^|/)(?:Test[A-Z]\w*|\w+(?:Test|Tests|TestCase|IT))\.(?:java|kt|scala|groovy|cs)$")


def is_test(path: str) -> bool:
    """Whether a path is a test's by the conventions of its language, or something that tests alone use."""
    return bool(TEST_NAME.search(path) or TEST_CLASS.search(path))
