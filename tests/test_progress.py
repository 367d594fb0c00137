from hh_fast.bench import progress


def lines_of(seconds, monkeypatch):
    """What is shown when measurements of 10, 30 and 60 expected seconds begin at these times."""
    shown = []
    clock = iter([0.0, 0.0, *seconds])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    told = progress.Progress(shown.append)
    told.plan(100.0)
    for name, expected in (("a", 10.0), ("b", 30.0), ("c", 60.0)):
        told.begin(name, expected)
    return shown


def test_the_plan_counts_until_something_is_done_and_the_clock_afterwards(monkeypatch):
    assert lines_of([0.0, 20.0, 80.0], monkeypatch) == [
        "[........................]   0%, about 100 s left: a",
        "[##......................]  10%, about 180 s left: b",
        "[##########..............]  40%, about 120 s left: c",
    ]


def test_without_a_plan_it_only_names_what_is_done():
    shown = []
    progress.Progress(shown.append).begin("looking at the images", 0.0)
    assert shown == ["[........................]: looking at the images"]
