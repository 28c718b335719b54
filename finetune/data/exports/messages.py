"""For whoever trains chat models: the questions and answers of a dataset as `messages`, without any sentinel or template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from finetune.data.exports.base import FORMATS, Format, Setting
from finetune.data.exports.reading import Tokens
from finetune.data.exports.told import Told
from finetune.data.turns import messages_in

_ROLES = ("user", "assistant")


@FORMATS.register("messages")
class Messages(Format):
    """JSONL of messages: the conversations alone, for any chat template."""

    title: ClassVar[str] = "chat trainers"

    def line(self, told: Told) -> Mapping[str, Any] | str:
        if not told.row.turns:
            return "no_conversation"
        prompt, answer = told.halves
        asked = messages_in(prompt, told.row.turns)
        if asked is None:
            return "no_conversation"
        texts = [*asked, answer.removesuffix(told.end)]
        return {"messages": [{"role": _ROLES[index % 2], "content": text} for index, text in enumerate(texts)]}

    def reads(self, line: Mapping[str, Any]) -> Tokens | list[int]:
        return Tokens([message["content"] for message in line["messages"]], whole=False)

    def files(self, setting: Setting) -> dict[str, str]:
        return {}

    def notes(self) -> str:
        return (
            "Questions and answers as a chat template wants them; the template and its end of turn are the reader's. Fill-in-the-middle "
            "samples are no conversations and are left out: a model that learns them inside a chat template does not fill in for an editor."
        )
