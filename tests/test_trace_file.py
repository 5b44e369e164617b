"""Load files: every accepted shape gives the same trace; everything else is refused with place and mend."""

from __future__ import annotations

import gzip
import io
import math
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import run

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs import trace_csv, trace_parquet, trace_table
from envs.errors import InputError
from envs.trace_file import Gap, Trace, read_trace
from envs.trace_stats import describe_trace

SETTINGS = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WIDE = "time,web,api\n0,1,10\n60,2,20\n120,3,30\n180,4,40\n"
LOADS = {"web": [1.0, 2.0, 3.0, 4.0], "api": [10.0, 20.0, 30.0, 40.0]}


def read(tmp_path: Path, text: str | bytes, name: str = "load.csv", **options: float) -> Trace:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_trace(path, **options)


def same_loads(trace: Trace) -> bool:
    return (
        trace.time_s.tolist() == [0.0, 60.0, 120.0, 180.0]
        and {name: values.tolist() for name, values in trace.columns.items()} == LOADS
        and trace.step_s == 60.0
        and trace.gaps == ()
    )


def refusal(tmp_path: Path, text: str | bytes, name: str = "load.csv", **options: float) -> str:
    """The one-line message; that the file is named goes for every one of them."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, name, **options)
    message = str(caught.value)
    assert str(tmp_path / name) in message
    assert "\n" not in message
    return message.removeprefix(f"{tmp_path / name}: ")


# accepted shapes


def test_wide_csv(tmp_path: Path) -> None:
    trace = read(tmp_path, WIDE)
    assert same_loads(trace)
    assert trace.start_utc is None
    assert trace.duration_s == 240.0
    assert trace.source == tmp_path / "load.csv"


@pytest.mark.parametrize(
    "text",
    [
        gzip.compress(WIDE.encode(), mtime=0),
        gzip.compress(WIDE[:20].encode(), mtime=0) + gzip.compress(WIDE[20:].encode(), mtime=0),
        b"\xef\xbb\xbf" + WIDE.encode(),
        WIDE.replace("\n", "\r\n").encode(),
        WIDE.replace(",", ";").encode(),
        WIDE.replace(",", "\t").encode(),
        WIDE.replace("web", '"web"').replace("0,1,", '"0","1",').encode(),
        WIDE.replace("\n60", "\n\n60").encode() + b"\n\n",
        WIDE.removesuffix("\n").encode(),
        WIDE.replace("time", "Timestamp").encode(),
        WIDE.replace("time", "when").encode(),
        WIDE.replace("time,", ",").encode(),
        b"web,api,time\n1,10,0\n2,20,60\n3,30,120\n4,40,180\n",
        b"time,unit,web,api\n0,rps,1,10\n60,rps,2,20\n120,rps,3,30\n180,rps,4,40\n",
    ],
)
def test_wide_csv_in_other_clothes(tmp_path: Path, text: bytes) -> None:
    assert same_loads(read(tmp_path, text))


def test_long_csv_by_time_or_by_series(tmp_path: Path) -> None:
    rows = [f"{60 * i},{name},{values[i]}" for i in range(4) for name, values in LOADS.items()]
    assert same_loads(read(tmp_path, "time,series,value\n" + "\n".join(rows)))
    rows.sort(key=lambda row: row.split(",")[1] != "web")
    assert same_loads(read(tmp_path, "time,series,value\n" + "\n".join(rows)))


def test_one_series_with_its_unit(tmp_path: Path) -> None:
    trace = read(tmp_path, "timestamp,value,unit\n0,27.23,kpi\n60,29.85,kpi\n")
    assert trace.column(None).tolist() == [27.23, 29.85]
    assert list(trace.columns) == ["value"]


@pytest.mark.parametrize("unit", [1.0, 1e3, 1e6, 1e9])
def test_unix_times_in_four_units(tmp_path: Path, unit: float) -> None:
    start = 1_767_571_200
    text = "time,web\n" + "".join(f"{int((start + 60 * i) * unit)},{i}\n" for i in range(4))
    trace = read(tmp_path, text)
    assert trace.start_utc == "2026-01-05T00:00:00Z"
    assert trace.time_s.tolist() == pytest.approx([0.0, 60.0, 120.0, 180.0], abs=1e-5)


@pytest.mark.parametrize(
    "stamp", ["2026-01-05T{:02d}:00:00Z", "2026-01-05 {:02d}:00:00+00:00", "2026-01-05T{:02d}:00+0000"]
)
def test_iso_times_with_a_zone(tmp_path: Path, stamp: str) -> None:
    trace = read(tmp_path, "time,web\n" + "".join(f"{stamp.format(i)},{i}\n" for i in range(4)))
    assert trace.start_utc == "2026-01-05T00:00:00Z"
    assert trace.step_s == 3600.0


def test_a_clock_change_is_no_gap_when_the_zone_is_given(tmp_path: Path) -> None:
    text = "time,web\n2026-03-29T01:00:00+01:00,1\n2026-03-29T03:00:00+02:00,2\n2026-03-29T04:00:00+02:00,3\n"
    assert read(tmp_path, text).time_s.tolist() == [0.0, 3600.0, 7200.0]


def test_times_count_from_the_first_sample(tmp_path: Path) -> None:
    trace = read(tmp_path, "time,web\n-30,1\n0,2\n30,3\n")
    assert trace.time_s.tolist() == [0.0, 30.0, 60.0]


def test_arrays_are_read_only(tmp_path: Path) -> None:
    trace = read(tmp_path, WIDE)
    with pytest.raises(ValueError, match="read-only"):
        trace.time_s[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        trace.column("web")[0] = 1.0


# gaps


def test_a_short_gap_is_bridged_and_reported(tmp_path: Path) -> None:
    trace = read(tmp_path, "time,web\n0,0\n60,60\n120,120\n720,720\n780,780\n")
    assert trace.gaps == (Gap(180.0, 540.0),)
    assert np.interp(400.0, trace.time_s, trace.column("web")) == 400.0


def test_an_empty_cell_is_a_gap_of_that_series_and_never_a_zero(tmp_path: Path) -> None:
    trace = read(tmp_path, "time,web,api\n0,1,10\n60,,20\n120,3,\n180,4,40\n240,5,50\n")
    assert trace.column("web").tolist() == [1, 2, 3, 4, 5]
    assert trace.column("api").tolist() == [10, 20, 30, 40, 50]
    assert trace.gaps == (Gap(60.0, 60.0, "web"), Gap(120.0, 60.0, "api"))


def test_a_series_that_starts_late_or_ends_early_holds_its_nearest_sample(tmp_path: Path) -> None:
    trace = read(tmp_path, "time,series,value\n0,a,1\n60,a,1\n120,a,1\n180,a,1\n60,b,5\n120,b,7\n")
    assert trace.column("b").tolist() == [5, 5, 7, 7]
    assert trace.gaps == (Gap(0.0, 60.0, "b"), Gap(180.0, 60.0, "b"))


def test_uneven_steps_are_kept(tmp_path: Path) -> None:
    trace = read(tmp_path, "time,web\n0,1\n14.5,2\n31,3\n45,4\n")
    assert trace.time_s.tolist() == [0.0, 14.5, 31.0, 45.0]
    assert trace.gaps == ()


def test_a_gap_over_the_limit_is_refused_where_it_ends(tmp_path: Path) -> None:
    text = "time,web\n0,0\n60,60\n120,120\n3900,9\n"
    assert read(tmp_path, text, max_gap_s=3720.0).gaps == (Gap(180.0, 3720.0),)
    message = refusal(tmp_path, text)
    assert message.startswith("line 5, column web: '3720 s without a sample'")
    assert "max_gap_s" in message


# refusals: place, value, mend


@pytest.mark.parametrize(
    ("text", "place", "mend"),
    [
        ("", "line 1", "empty"),
        ("\n\n", "line 1", "empty"),
        ("time,web\n", "line 2", "no rows"),
        ("time,web\n\n\n", "line 2", "no rows"),
        ("time,web\n5,1\n", "line 2", "at least two"),
        ("time\n0\n60\n", "line 1: 'time'", "column of loads"),
        ("0,1\n60,2\n", "line 1: '0,1'", "header line"),
        ("time,web,web\n0,1,2\n", "line 1: 'web'", "twice"),
        ("time,web,\n0,1,2\n", "line 1: 'column 3 without a name'", "name every column"),
        ("time,web\n0,1\n60,2\n30,3\n", "line 4, column time: 30.0", "sort"),
        ("time,web\n0,1\n60,2\n60,3\n", "line 4, column time: 60.0", "twice"),
        ("time,series,value\n0,a,1\n0,b,1\n60,a,2\n60,a,3\n", "line 5, column time: 60.0", "twice"),
        ("time,web\n0,1\n60,x\n", "line 3, column web: 'x'", "plain number"),
        ("time,web\n0,1\n60,1 000\n", "line 3, column web: '1 000'", "plain number"),
        ("time,web\n0,1\n60,1_000\n", "line 3, column web: '1_000'", "plain number"),
        ("time,web\n0,1\n60,nan\n", "line 3, column web: 'nan'", "empty for a missing sample"),
        ("time,web\n0,1\n60,inf\n", "line 3, column web: 'inf'", "plain number"),
        ("time,web\n0,1\n,2\n", "line 3, column time: ''", "plain number"),
        ("time,web\nnan,1\n60,2\n", "line 2, column time", "plain number"),
        ("time,web\n0,1\n60,-2\n", "line 3, column web: -2.0", "negative"),
        ("time,web\n0,1\n60,1e300\n", "line 3, column web: 1e+300", "unit"),
        ("time,web\n0,1\n1e15,2\n", "time", "20 years"),
        ("time,web\n0,1\n60\n", "line 3: '1 columns'", "2 columns"),
        ("time,web\n0,1\n60,1,2\n", "line 3: '3 columns'", "2 columns"),
        ("time,web,api\n0,1,\n60,1,\n", "column api", "empty"),
        ("time,web\n2026-01-05T00:00:00,1\n", "line 2, column time: '2026-01-05T00:00:00'", "no zone"),
        ("time,web\n2026-01-05T00:00:00Z,1\n2026-01-05 01:00,2\n", "line 3, column time", "no zone"),
        ("time,web\n5 Jan 2026,1\n", "line 2, column time: '5 Jan 2026'", "2026-01-05T00:00:00Z"),
        ("time,web\n2026-01-05T00:00:00Z,1\n60,2\n", "line 3, column time: '60'", "2026-01-05T00:00:00Z"),
        ("time,series,a,b\n0,x,1,2\n", "line 1", "time, series, value"),
        ("time,series,value\n0,,1\n60,a,2\n", "line 2", "name the series"),
        ('time,web\n0,1\n60,"2\n', "line", "plain CSV"),
        ('time,web\n0,1\n60,"2"3\n', "line", "plain CSV"),
    ],
)
def test_bad_text_is_refused_with_its_line_value_and_mend(tmp_path: Path, text: str, place: str, mend: str) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(place)
    assert mend in message


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (bytes(range(256)) * 50, "UTF-8"),
        (b"time,web\n0,1\n60,\xe9\n", "line 3"),
        (b"time,web\n0,1\n60,2\0\n", "line 3"),
        (WIDE.encode("utf-16"), "UTF-16"),
        (b"\x28\xb5\x2f\xfd garbage", "zstd"),
        (gzip.compress(WIDE.encode(), mtime=0)[:-12], "cut or damaged"),
        (gzip.compress(WIDE.encode(), mtime=0) + b"tail", "cut or damaged"),
        (b"\x1f\x8b" + b"\0" * 40, "cut or damaged"),
        (b"PAR1" + b"\0" * 100 + b"PAR1", "cut or damaged"),
        (b"PAR1", "cut or damaged"),
        (b"time,web\n" + b"1" * 3_000_000, "longer than"),
        (b"time," + b",".join(b"c%d" % i for i in range(10_001)) + b"\n", "at most 10000 series"),
    ],
)
def test_bad_bytes_are_refused(tmp_path: Path, data: bytes, part: str) -> None:
    assert part in refusal(tmp_path, data)


def test_zip_archives_and_bombs_are_refused(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("load.csv", "0" * 10_000_000)
    assert "zip archive: unpack it" in refusal(tmp_path, archive.getvalue())


def test_a_gzip_bomb_stops_at_the_ratio(tmp_path: Path) -> None:
    bomb = gzip.compress(b"time,web\n" + b"0,0\n" * 10_000_000, mtime=0)
    assert "at most 100 are accepted" in refusal(tmp_path, bomb)


def test_unpacked_text_stops_at_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_csv, "MAX_BYTES", 2 * trace_table.MIB)
    text = b"time,web\n" + b"".join(b"%d,%d\n" % (i, i * 7919 % 1000) for i in range(400_000))
    assert "MiB unpacked" in refusal(tmp_path, gzip.compress(text, 1, mtime=0))
    assert "at most 2 MiB" in refusal(tmp_path, text)


def test_a_ten_gigabyte_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    with path.open("wb") as stream:
        stream.write(b"time,web\n0,1\n")
        stream.truncate(10 * 1024**3)
    with pytest.raises(InputError, match=r"10240 MiB.*at most 512 MiB"):
        read_trace(path)


def test_too_many_cells_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_csv, "MAX_CELLS", 5)
    assert "at most 5" in refusal(tmp_path, WIDE)


def test_series_that_share_no_times_cannot_multiply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.trace_file.MAX_CELLS", 1000)
    rows = "".join(f"{i},s{i % 100},1\n" for i in range(200))
    assert "100 series at 200 times" in refusal(tmp_path, "time,series,value\n" + rows)


def test_missing_files_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "traffic.csv").write_text(WIDE)
    with pytest.raises(InputError, match=r"no such file; did you mean traffic\.csv"):
        read_trace(tmp_path / "trafic.csv")
    with pytest.raises(InputError, match="not a file"):
        read_trace(tmp_path)
    with pytest.raises(InputError, match="nor a folder"):
        read_trace(tmp_path / "there" / "load.csv")
    with pytest.raises(InputError, match="not a file"):
        read_trace("/dev/zero")


def test_a_wrong_column_names_the_nearest(tmp_path: Path) -> None:
    trace = read(tmp_path, WIDE)
    with pytest.raises(InputError, match="column: 'wbe': did you mean web"):
        trace.column("wbe")
    with pytest.raises(InputError, match="name one of several: there is web, api"):
        trace.column(None)


# Parquet


def parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_wide_and_long_parquet(tmp_path: Path) -> None:
    time = [0, 60, 120, 180]
    assert same_loads(read_trace(parquet(tmp_path / "wide.parquet", time=time, **LOADS)))
    long = parquet(
        tmp_path / "long.parquet",
        time=time + time,
        series=pa.array(["web"] * 4 + ["api"] * 4).dictionary_encode(),
        value=LOADS["web"] + LOADS["api"],
    )
    assert same_loads(read_trace(long))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_times_with_a_zone(tmp_path: Path, unit: str) -> None:
    start = datetime(2026, 1, 5, tzinfo=UTC)
    stamps = pa.array([start + timedelta(minutes=i) for i in range(3)], pa.timestamp(unit, "Europe/Berlin"))
    trace = read_trace(parquet(tmp_path / "load.parquet", time=stamps, web=[1, 2, 3]))
    assert trace.start_utc == "2026-01-05T00:00:00Z"
    assert trace.time_s.tolist() == [0.0, 60.0, 120.0]


def test_parquet_null_is_a_gap(tmp_path: Path) -> None:
    trace = read_trace(parquet(tmp_path / "load.parquet", time=[0, 60, 120, 180], web=[1.0, None, 3.0, 4.0]))
    assert trace.column("web").tolist() == [1, 2, 3, 4]
    assert trace.gaps == (Gap(60.0, 60.0),)


@pytest.mark.parametrize(
    ("columns", "part"),
    [
        ({"time": [0, 60], "web": [1.0, math.nan]}, "row 2, column web"),
        ({"time": [0, 60], "web": [1.0, math.inf]}, "row 2, column web"),
        ({"time": [0, 60], "web": [1.0, -1.0]}, "row 2, column web: -1.0"),
        ({"time": [60, 0], "web": [1.0, 1.0]}, "row 2, column time"),
        ({"time": [0, None], "web": [1.0, 1.0]}, "row 2: 'null'"),
        ({"time": [0, 60], "web": ["a", "b"]}, "column web: 'string'"),
        ({"time": [0, 60], "web": [[1.0], [2.0]]}, "column web"),
        ({"time": [datetime(2026, 1, 5), datetime(2026, 1, 6)], "web": [1.0, 1.0]}, "tz_localize"),
        ({"time": pa.array([], pa.int64()), "web": pa.array([], pa.float64())}, "no rows"),
    ],
)
def test_bad_parquet_is_refused(tmp_path: Path, columns: dict[str, object], part: str) -> None:
    with pytest.raises(InputError) as caught:
        read_trace(parquet(tmp_path / "load.parquet", **columns))
    assert part in str(caught.value)


def test_parquet_with_too_many_declared_cells_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "load.parquet", time=list(range(1000)), web=[1.0] * 1000)
    monkeypatch.setattr(trace_parquet, "MAX_CELLS", 1000)
    with pytest.raises(InputError, match=r"footer.*1000 rows"):
        read_trace(path)
    monkeypatch.undo()
    monkeypatch.setattr(trace_parquet, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match=r"footer.*unpacked"):
        read_trace(path)


def test_a_parquet_footer_with_another_row_count_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "load.parquet", time=list(range(100)), web=[1.0] * 100)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"\x16\xc8\x01\x19")  # the schema's end: num_rows = 100 as a zigzag varint, then the row groups
    data[at + 1 : at + 3] = b"\xca\x01"  # 101
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="parquet"):
        read_trace(path)


# round trips and fuzz


@st.composite
def loads(draw: st.DrawFn) -> tuple[list[float], dict[str, list[float]]]:
    n = draw(st.integers(2, 30))
    steps = draw(st.lists(st.floats(1.0, 1000.0), min_size=n - 1, max_size=n - 1))
    names = draw(
        st.lists(st.text("abcxyz-_ 0ü", min_size=1, max_size=8).filter(_plain), min_size=1, max_size=4, unique=True)
    )
    values = st.lists(st.floats(0.0, 1e9), min_size=n, max_size=n)
    return np.concatenate([[0.0], np.cumsum(steps)]).tolist(), {name: draw(values) for name in names}


def _plain(name: str) -> bool:
    known = (*trace_table.TIME_NAMES, *trace_table.SERIES_NAMES, *trace_table.IGNORED_NAMES)
    return name.strip() == name and name.lower() not in known


@SETTINGS
@given(load=loads(), delimiter=st.sampled_from(",;\t"), packed=st.booleans())
def test_wide_csv_round_trip(
    tmp_path: Path, load: tuple[list[float], dict[str, list[float]]], delimiter: str, packed: bool
) -> None:
    time, columns = load
    rows = [["time", *columns], *([str(x) for x in row] for row in zip(time, *columns.values(), strict=True))]
    data = "\n".join(delimiter.join(row) for row in rows).encode()
    trace = read(tmp_path, gzip.compress(data, mtime=0) if packed else data, max_gap_s=1e6)
    assert trace.time_s.tolist() == time
    assert {name: values.tolist() for name, values in trace.columns.items()} == columns


@SETTINGS
@given(load=loads(), order=st.randoms(use_true_random=False))
def test_long_parquet_round_trip(
    tmp_path: Path, load: tuple[list[float], dict[str, list[float]]], order: object
) -> None:
    time, columns = load
    names = list(columns)
    order.shuffle(names)
    series = [name for name in names for _ in time]
    values = [value for name in names for value in columns[name]]
    path = parquet(tmp_path / "load.parquet", time=time * len(names), series=series, value=values)
    trace = read_trace(path, max_gap_s=1e6)
    assert trace.time_s.tolist() == time
    assert {name: values.tolist() for name, values in trace.columns.items()} == columns


@SETTINGS
@given(keep=st.lists(st.booleans(), min_size=3, max_size=40), seed=st.integers(0, 99))
def test_samples_left_out_are_bridged_by_the_line_and_accounted_for(
    tmp_path: Path, keep: list[bool], seed: int
) -> None:
    keep = [True, *keep, True]
    values = np.random.default_rng(seed).uniform(1.0, 9.0, len(keep))
    rows = [f"{60 * i},{values[i] if kept else ''},1" for i, kept in enumerate(keep)]
    trace = read(tmp_path, "time,web,all\n" + "\n".join(rows))
    known = np.flatnonzero(keep)
    assert trace.column("web") == pytest.approx(np.interp(np.arange(len(keep)), known, values[known]))
    assert trace.column("web").min() >= 1.0
    assert sum(gap.length_s for gap in trace.gaps if gap.column == "web") == 60.0 * (len(keep) - len(known))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_give_a_sound_trace_or_an_input_error(tmp_path: Path, data: st.DataObject) -> None:
    parquet_bytes = parquet(tmp_path / "seed.parquet", time=[0, 60, 120], web=[1.0, 2.0, 3.0]).read_bytes()
    long = b"time,series,value\n0,a,1\n0,b,2\n60,a,3\n60,b,4\n"
    seeds = [WIDE.encode(), long, gzip.compress(WIDE.encode(), mtime=0), parquet_bytes]
    content = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content)))
        cut = data.draw(st.integers(0, 6))
        content[at : at + cut] = data.draw(
            st.one_of(st.binary(max_size=6), st.sampled_from([b"\n", b",", b'"', b"1e9"]))
        )
    try:
        trace = read(tmp_path, bytes(content))
    except InputError as error:
        refused = str(error)
    else:
        refused = ""
    assert "\n" not in refused
    if refused:
        return
    assert (np.diff(trace.time_s) > 0).all()
    for values in trace.columns.values():
        assert len(values) == len(trace.time_s)
        assert np.isfinite(values).all()
        assert (values >= 0).all()


# what a load looks like


def test_description_of_a_daily_sine(tmp_path: Path) -> None:
    hours = np.arange(24 * 7)
    values = 100.0 + 50.0 * np.sin(2 * np.pi * hours / 24)
    text = "time,web,flat\n" + "".join(f"{3600 * h},{v},7\n" for h, v in zip(hours, values, strict=True))
    stats = describe_trace(read(tmp_path, text))
    assert stats["web"].mean == pytest.approx(100.0, rel=1e-3)
    assert stats["web"].max == 150.0
    assert stats["web"].peak_to_mean == pytest.approx(1.5, rel=1e-3)
    assert stats["web"].daily_autocorrelation == pytest.approx(1.0)
    assert stats["flat"].p99 == 7.0
    assert math.isnan(stats["flat"].daily_autocorrelation)


def test_reading_csv_loads_neither_pandas_nor_pyarrow_nor_numba(tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text(WIDE)
    code = (
        "import sys; from envs.trace_file import read_trace; from envs.trace_stats import describe_trace;"
        f"describe_trace(read_trace({str(tmp_path / 'load.csv')!r}));"
        "sys.exit(','.join(m for m in ('pandas', 'pyarrow', 'numba') if m in sys.modules))"
    )
    done = run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert done.stderr.strip() == ""
