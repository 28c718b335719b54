from __future__ import annotations

from finetune.data.tally import Decision, Tally
from finetune.records import Origin

ORIGIN = Origin("repo", "commit", "a.py")


def test_what_is_neither_kept_nor_dropped_is_lost():
    tally = Tally(read=3)
    tally.drop(ORIGIN, "binary")
    tally.kept += 1
    assert (tally.kept, tally.lost) == (1, 1)
    assert tally.decisions == [Decision(ORIGIN, "binary")]


def test_two_tallies_add_up_and_stay_as_they_were():
    files, changes = Tally(read=2, kept=1), Tally(read=5, kept=4)
    files.drop(ORIGIN, "binary")
    changes.drop(ORIGIN, "binary")
    files.redactions["email"] += 2
    both = files + changes
    assert (both.read, both.kept, both.dropped, both.redactions, both.lost) == (7, 5, {"binary": 2}, {"email": 2}, 0)
    assert files.dropped == {"binary": 1}
    assert len(both.decisions) == 2
