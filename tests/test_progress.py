import logging

from hh_fast.bench.progress import Progress


def test_a_log_gets_one_line_a_measurement(caplog, capsys):
    progress = Progress(shown=True)
    progress.expect(100.0)
    for name in ("a", "b"):
        progress.begin(name, 50.0)
    progress.close()
    assert caplog.messages == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_with_the_share_that_is_done(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress(shown=True)
    progress.expect(100.0)
    for name, expected_s in (("a", 25.0), ("b", 50.0), ("c", 25.0)):
        progress.begin(name, expected_s)
    progress._bar.refresh()
    progress.close()
    text = capsys.readouterr().err
    assert " 75% |██████████████████      | about " in text
    assert "left: c" in text


def test_a_quiet_bench_shows_nothing(caplog, capsys):
    caplog.set_level(logging.WARNING)
    progress = Progress(shown=False)
    progress.begin("a", 1.0)
    progress.close()
    assert (caplog.messages, capsys.readouterr().err) == ([], "")
