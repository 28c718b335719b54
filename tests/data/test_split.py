from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetune.data.split import side
from finetune.records import Origin

texts = st.text(max_size=20)


@given(texts, texts, texts, texts, st.floats(0, 1), st.integers(0, 2**32))
def test_the_side_depends_on_repository_path_and_seed_alone(repo, path, commit, licence, share, seed):
    one, other = Origin(repo, commit, path, licence), Origin(repo, "another", path)
    assert side(one, valid_share=share, seed=seed) == side(other, valid_share=share, seed=seed)


def test_a_larger_share_only_adds_files():
    origins = [Origin("repo", "commit", f"{i}.py") for i in range(2000)]
    small = {origin for origin in origins if side(origin, valid_share=0.1, seed=0) == "valid"}
    large = {origin for origin in origins if side(origin, valid_share=0.2, seed=0) == "valid"}
    assert small < large
    assert 150 < len(small) < 250


def test_the_ends_of_the_share_are_all_or_nothing():
    origins = [Origin("repo", "commit", f"{i}.py") for i in range(200)]
    assert {side(origin, valid_share=0.0, seed=3) for origin in origins} == {"train"}
    assert {side(origin, valid_share=1.0, seed=3) for origin in origins} == {"valid"}


def test_the_seed_draws_another_split():
    origins = [Origin("repo", "commit", f"{i}.py") for i in range(200)]
    assert [side(origin, valid_share=0.5, seed=0) for origin in origins] != [side(origin, valid_share=0.5, seed=1) for origin in origins]
