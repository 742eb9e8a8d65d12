"""Inputs and crash schedules for property tests."""

from hypothesis import strategies as st

from orchestration.runtime.crashpoints import CRASH_POINTS

#: Rows and bad lines of one file.
file_contents = st.tuples(st.integers(0, 4), st.integers(0, 2))

#: What happens between runs: files that land, then a run that may die.
steps = st.lists(
    st.tuples(
        st.lists(file_contents, max_size=3),
        st.sampled_from([None, *CRASH_POINTS]),
        st.integers(1, 3),  # files a batch
    ),
    min_size=1,
    max_size=5,
)
