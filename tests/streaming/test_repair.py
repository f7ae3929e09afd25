"""Repair of damaged ids: what one fault costs, that pieces do not matter, and that the report is true."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snac_tok import FrameLayout, Vocabulary, preset
from snac_tok.errors import TokenError
from snac_tok.streaming.frame_repair import FrameRepair, repair_ids

PROPERTY = settings(deadline=None, max_examples=150)
FRAMES = 4
TABLES = {
    "orpheus": preset("orpheus"),
    "fifteen slots": preset("plain", strides=(8, 4, 2, 1)),
    "separator": Vocabulary(FrameLayout((4, 2, 1)), specials={"sep": 90_000, "eos": 90_001}, separator="sep"),
    "by level": Vocabulary(FrameLayout((4, 2, 1)), offsets="level", specials={"eos": 90_001}),
    "breadth-first": Vocabulary(
        FrameLayout((4, 2, 1), order="breadth-first"), specials={"eos": 90_001, "pad": 90_002}
    ),
}
TELLING = ("orpheus", "fifteen slots", "separator", "breadth-first")
SIZES = (1, 5, 7, None)


def clean_ids(table, frames=FRAMES, seed=0):
    """Ids of random codes."""
    generator = np.random.default_rng(seed)
    counts = table.layout.codes_per_frame
    return table.encode([generator.integers(table.codebook_size, size=frames * n) for n in counts])


def edges(table):
    """Its specials that stand around codes."""
    return [number for name, number in table.specials.items() if name != table.separator]


def lost(ids, at, _table):
    """One id is missing."""
    return np.delete(ids, at)


def doubled(ids, at, _table):
    """One id came twice."""
    return np.insert(ids, at, ids[at])


def swapped(ids, at, _table):
    """Two neighbours changed places."""
    ids = ids.copy()
    ids[at], ids[at + 1] = ids[at + 1], ids[at]
    return ids


def foreign(ids, at, _table):
    """An id that means nothing stands in place of one."""
    ids = ids.copy()
    ids[at] = 500_000
    return ids


def foreign_between(ids, at, _table):
    """An id that means nothing stands between two."""
    return np.insert(ids, at, 500_000)


def of_another_slot(ids, at, table):
    """A code of the slot after the next stands in place of one."""
    ids = ids.copy()
    ids[at] = ids[
        (at + 2) % min(len(ids), table.ids_per_frame)
    ]  # a fault before may have left less than a frame
    return ids


def special(ids, at, table):
    """A special id stands in place of a code."""
    ids = ids.copy()
    ids[at] = edges(table)[-1]
    return ids


def special_between(ids, at, table):
    """A special id, the end of speech where there is one, stands between codes."""
    return np.insert(ids, at, edges(table)[0])


FAULTS = (lost, doubled, swapped, foreign, foreign_between, of_another_slot, special, special_between)


def pushed(ids, table, on_error, size):
    """Repair ids in pushes of one size; return the ids and the report."""
    repair = FrameRepair(table, on_error)
    step = size or len(ids)
    pieces = [repair.push(ids[at : at + step]) for at in range(0, len(ids), step)] + [repair.end()]
    return np.concatenate(pieces), repair.report


def num_changed(found, wanted, table, on_error):
    """Return how many frames are lost or changed."""
    found, wanted = (ids.reshape(-1, table.ids_per_frame) for ids in (found, wanted))
    if on_error == "conceal":
        assert len(found) == len(wanted), "the time was not kept"
        return int((found != wanted).any(axis=1).sum())
    rows = found.tolist()
    assert all(row in wanted.tolist() for row in rows)
    return len(wanted) - len(rows)


@pytest.mark.law(8)
@pytest.mark.parametrize("on_error", ["resync", "conceal"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", TELLING)
def test_one_fault_costs_at_most_the_frame_it_is_in(name, fault, on_error):
    """At every place, for every size of pushes; a swap is undone, across a border of frames, too."""
    table = TABLES[name]
    ids = clean_ids(table)
    most = 0 if fault in (swapped, doubled, foreign_between, special_between) else 1
    for at in range(len(ids) - 1):
        damaged = fault(ids, at, table)
        results = [pushed(damaged, table, on_error, size) for size in SIZES]
        for found, report in results:
            np.testing.assert_array_equal(found, results[0][0])
            assert report == results[0][1]
            assert num_changed(found, ids, table, on_error) <= most, (at, str(report))
            # In front of the first code special ids are no fault.
            assert report.num_faults == 1 or (at == 0 and fault is special_between)


@pytest.mark.parametrize("on_error", ["resync", "conceal"])
@pytest.mark.parametrize("name", TELLING)
@pytest.mark.parametrize("every", [1, 2, 3])
def test_ids_that_are_no_codes_may_stand_behind_every_code(name, on_error, every):
    """Specials and others: no code is lost, however the pushes are cut."""
    table = TABLES[name]
    ids = clean_ids(table)
    for other in (500_000, edges(table)[0]):
        damaged = np.insert(ids, range(1, len(ids), every), other)
        for size in SIZES:
            found, report = pushed(damaged, table, on_error, size)
            np.testing.assert_array_equal(found, ids)
            assert report.num_ids_left_out == len(damaged) - len(ids)


@pytest.mark.parametrize("on_error", ["resync", "conceal"])
@pytest.mark.parametrize("fault", [lost, doubled, foreign], ids=lambda fault: fault.__name__)
def test_ids_that_tell_their_level_alone_cost_the_frame_too(fault, on_error):
    """Slots of one level look alike: the next frame's first code tells where the line goes on.

    A doubled code may stand in the next slot of its level, unnoticed, when its frame is given out.
    """
    table = TABLES["by level"]
    ids = clean_ids(table)
    frames = ids.reshape(-1, table.ids_per_frame).tolist()
    # In the last frame nothing follows that tells.
    for at in range(len(ids) - table.ids_per_frame):
        found, report = pushed(fault(ids, at, table), table, on_error, 5)
        kept = found.reshape(-1, table.ids_per_frame).tolist()
        assert sum(frame not in kept for frame in frames) <= 1, at
        assert len(kept) + report.num_lost == len(frames)


def anything(data, table):
    """Ids of a table with faults of all kinds, or no sense at all."""
    ids = clean_ids(table, data.draw(st.integers(0, 5)))
    for _ in range(data.draw(st.integers(0, 6))):
        if len(ids) > 2:
            at = data.draw(st.integers(0, len(ids) - 2))
            ids = data.draw(st.sampled_from(FAULTS))(ids, at, table)
    noise = data.draw(
        st.lists(st.sampled_from([*ids.tolist(), *edges(table), 0, 4096, -5, 2**62]), max_size=60)
    )
    return np.concatenate((ids, np.array(noise, np.int64)))


@PROPERTY
@given(data=st.data())
def test_pieces_do_not_matter_and_what_comes_out_is_valid(data):
    """Whatever came: any partition gives the same whole frames and the same report, and its numbers add up."""
    table = TABLES[data.draw(st.sampled_from(sorted(TABLES)))]
    on_error = data.draw(st.sampled_from(["resync", "conceal"]))
    ids = anything(data, table)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=8)))
    drop_partial = data.draw(st.booleans())
    repair = FrameRepair(table, on_error)
    pieces = [repair.push(part) for part in np.split(ids, cuts)]
    found = np.concatenate([*pieces, repair.end(drop_partial=drop_partial)])
    whole = repair_ids(ids, table, on_error=on_error, drop_partial=drop_partial)
    np.testing.assert_array_equal(found, whole.ids)
    report = repair.report
    assert report == whole.report
    assert not table.validate(found)
    assert len(found) == report.num_frames * table.ids_per_frame
    assert (len(report.lost), len(report.concealed)) == (report.num_lost, report.num_concealed)
    assert len({*report.lost, *report.concealed}) == report.num_lost + report.num_concealed
    assert max((*report.lost, *report.concealed), default=-1) < report.num_frames + report.num_lost
    assert report.num_concealed == 0 or on_error == "conceal"
    assert len(report.faults) == report.num_faults
    if report.num_lost or report.num_concealed or report.num_ids_left_out:
        assert report.num_faults


@pytest.mark.parametrize("on_error", ["resync", "conceal"])
@pytest.mark.parametrize("name", TABLES)
def test_clean_ids_pass_unchanged(name, on_error):
    """With special ids around them, too, however many."""
    table = TABLES[name]
    ids = clean_ids(table, 300)
    around = np.resize(edges(table)[::-1], 500)[: 500 if edges(table) else 0]
    for size in (1, 7, None):
        found, report = pushed(np.concatenate((around, ids, around)), table, on_error, size)
        np.testing.assert_array_equal(found, ids)
        assert not report
        assert report.num_frames == 300


def test_missing_codes_are_those_of_the_frame_before():
    """The codes that came stay; those in front of the first whole frame are filled from it."""
    table = preset("orpheus")
    ids = clean_ids(table, 3)
    found = repair_ids(np.delete(ids, [2, 9]), table)
    wanted = ids.copy()
    wanted[2] = wanted[9] = ids[16]
    np.testing.assert_array_equal(found.ids, wanted)
    assert found.report.concealed == (0, 1)
    assert found.report.num_lost == 0


def test_the_report_says_what_was_found_and_done():
    """For programs and for people."""
    table = preset("orpheus")
    ids = clean_ids(table, 9)
    report = repair_ids(np.insert(np.delete(ids, 24), 40, 128258), table, on_error="resync").report
    assert [(fault.position, fault.frame) for fault in report.faults] == [(24, 3), (40, 5)]
    assert (report.num_frames, report.lost, report.num_ids_left_out) == (8, (3,), 1)
    assert str(report) == (
        "2 faults among the ids: 1 frame lost, 1 id left out; the first at position 24, frame 3: 1 id missing"
    )
    assert report.faults[1].reason == "the special id 128258, 'end_of_speech'"


def test_an_end_of_speech_keeps_what_came_before_it():
    """In the same push and inside a frame: codes on both sides of it stay; what is no code is told."""
    table = preset("orpheus")
    ids = clean_ids(table, 4)
    behind = np.array([128258, 128262, 9906, 13])
    for size in SIZES:
        found, report = pushed(np.concatenate((ids, behind)), table, "conceal", size)
        np.testing.assert_array_equal(found, ids)
        assert (report.num_faults, report.num_concealed) == (1, 0)
        found, report = pushed(np.insert(ids, 10, behind), table, "conceal", size)
        np.testing.assert_array_equal(found, ids)


def test_a_last_frame_that_is_not_whole():
    """It is concealed, lost, or left out on request."""
    table = preset("orpheus")
    ids = clean_ids(table, 3)
    concealed = repair_ids(ids[:-2], table)
    np.testing.assert_array_equal(concealed.ids, np.concatenate((ids[:-2], ids[12:14])))
    for on_error in ("resync", "conceal"):
        dropped = repair_ids(ids[:-2], table, on_error=on_error, drop_partial=True)
        np.testing.assert_array_equal(dropped.ids, ids[:14])
        assert dropped.report.lost == (2,)
    nothing = repair_ids(ids[:5], table)
    assert (nothing.ids.size, nothing.report.lost) == (0, (0,))


def test_ids_that_do_not_tell_their_slots_are_counted_and_say_so():
    """A foreign id costs a frame; a lost one cannot be noticed before the end."""
    table = Vocabulary(FrameLayout((4, 2, 1)), offsets="none", specials={"eos": 5000})
    ids = clean_ids(table, 4)
    found = repair_ids(foreign(ids, 9, table), table, on_error="resync")
    np.testing.assert_array_equal(found.ids, np.delete(ids.reshape(4, 7), 1, axis=0).reshape(-1))
    missing = repair_ids(np.delete(ids, 3), table)
    assert missing.report.num_frames == 4
    assert "do not tell their slots" in str(missing.report)
    assert repair_ids(ids, table).report.is_counted


def test_a_copy_goes_on_by_itself():
    """A failed call of a stream throws the copy away."""
    table = preset("orpheus")
    ids = np.delete(clean_ids(table, 4), 10)
    repair = FrameRepair(table, "conceal")
    repair.push(ids[:12])
    other = copy.copy(repair)
    other.push(np.array([7, 7, 7]))
    rest = np.concatenate((repair.push(ids[12:]), repair.end()))
    np.testing.assert_array_equal(rest, repair_ids(ids, table).ids[7:])


def test_what_cannot_be_repaired_says_so():
    """Parallel rows, and words that are none of the three."""
    with pytest.raises(TokenError, match="parallel rows, which are not repaired"):
        FrameRepair(preset("mini-omni"), "resync")
    with pytest.raises(TokenError, match='"strict", "resync" or "conceal"'):
        FrameRepair(preset("orpheus"), "fix")
    with pytest.raises(TokenError, match="repairs nothing"):
        repair_ids(np.zeros(7, np.int64), preset("orpheus"), on_error="strict")
