"""The messages of a conversation, found again in the text of its prompt by their lengths.

Question: QUESTION\\n\\nAnswer:\\nANSWER\\n\\nQuestion: QUESTION\\n\\nAnswer:\\n
"""

from __future__ import annotations

from collections.abc import Sequence

from finetune.records import InstructSample, Sample

_ASKED, _ANSWERED, _NEXT = "Question: ", "\n\nAnswer:\n", "\n\n"


def turns_of(sample: Sample) -> tuple[int, ...]:
    """The characters of each message before the answer, questions and answers in turn; none: the sample is no conversation."""
    if not isinstance(sample, InstructSample) or sample.form != "question":
        return ()
    last = len(sample.instruction) + (1 + len(sample.context) if sample.context else 0)
    return (*(len(text) for turn in sample.earlier for text in turn), last)


def messages_in(prompt: str, turns: Sequence[int]) -> list[str] | None:
    """The messages in a prompt's text, None when it is none with messages of these lengths."""
    messages, place = [], 0
    for index, length in enumerate(turns):
        before = _ANSWERED if index % 2 else _ASKED if index == 0 else _NEXT + _ASKED
        if not prompt.startswith(before, place):
            return None
        place += len(before)
        messages.append(prompt[place : place + length])
        place += length
    return messages if prompt[place:] == _ANSWERED else None
