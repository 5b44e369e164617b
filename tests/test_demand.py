"""The load that a scenario offers: exact, seeded, and the same however it is cut."""

from __future__ import annotations

import dataclasses
import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.cluster import ClusterSpec, Workload
from envs.demand import Demand, rate_quantile
from envs.errors import InputError
from envs.load_noise import anchor_noise, averaged_share, bridge_weights, tick_noise
from envs.scenario import GeneratedDemand, NoiseModel, Scenario, TraceDemand
from envs.sim.arrivals import BLOCK
from envs.sim.backlog import META, batch_tick, cohorts_needed

DAY_S = 86_400.0
QUIET = NoiseModel(enabled=False)
SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def scenario(*demands: TraceDemand | GeneratedDemand, kinds: tuple[str, ...] = (), **fields: object) -> Scenario:
    """A scenario of workloads w0, w1, ... with these demands."""
    workloads = tuple(Workload(f"w{i}", kind=kinds[i] if i < len(kinds) else "service") for i in range(len(demands)))
    values = {"horizon_s": DAY_S, **fields}
    return Scenario("test", ClusterSpec(workloads, (), ()), tuple(demands), **values)


def trace_file(path: Path, time_s: np.ndarray, values: np.ndarray) -> Path:
    rows = "\n".join(f"{t!r},{v!r}" for t, v in zip(time_s.tolist(), values.tolist(), strict=True))
    path.write_text(f"time,load\n{rows}\n")
    return path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A day and more of 50 requests/s every five minutes."""
    time = np.arange(0.0, 2 * DAY_S + 1, 300.0)
    return trace_file(tmp_path / "flat.csv", time, np.full(len(time), 50.0))


# exact means


def slow_mean(time: np.ndarray, value: np.ndarray, a: float, b: float) -> float:
    """Mean of the piecewise-linear curve over [a, b], by splitting at every knot."""
    cuts = np.unique(np.concatenate([[a, b], time[(time > a) & (time < b)]]))
    heights = np.interp(cuts, time, value)
    return math.fsum((cuts[1:] - cuts[:-1]) * (heights[1:] + heights[:-1]) / 2) / (b - a)


@SETTINGS
@given(
    steps=st.lists(st.floats(0.5, 700.0), min_size=2, max_size=40),
    seed=st.integers(0, 1000),
    tick_s=st.sampled_from([5.0, 7.0, 15.0, 60.0]),
    share=st.floats(0.0, 1.0),
)
def test_rates_are_the_exact_mean_of_the_line_over_each_tick(
    tmp_path: Path, steps: list[float], seed: int, tick_s: float, share: float
) -> None:
    time = np.concatenate([[0.0], np.cumsum(steps)])
    value = np.random.default_rng(seed).uniform(0.0, 100.0, len(time))
    path = trace_file(tmp_path / "trace.csv", time, value)
    offset = share * float(time[-1])
    length = float(time[-1]) - offset
    world = scenario(TraceDemand(path, offset_s=offset, max_gap_s=1e9), horizon_s=0.5, tick_s=tick_s)
    n = math.ceil(length / tick_s) + 3
    rates = Demand.pack([world], [0]).rates(-2, n + 2)[0, :, 0]
    for i, rate in enumerate(rates):
        start = max((i - 2) * tick_s, 0.0) + offset
        stop = max((i - 1) * tick_s, 0.0) + offset
        expected = slow_mean(time, value, start, stop) if stop > start else np.interp(start, time, value)
        assert rate == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_ticks_add_up_to_the_integral_of_the_trace(tmp_path: Path) -> None:
    time = np.arange(0.0, DAY_S + 1, 60.0)
    value = np.random.default_rng(1).uniform(0.0, 10.0, len(time))
    world = scenario(TraceDemand(trace_file(tmp_path / "trace.csv", time, value)), tick_s=25.0, noise=QUIET)
    total = Demand.pack([world], [0]).arrivals(0, 3456).sum()
    assert total == pytest.approx(np.trapezoid(value, time), rel=1e-12)


def test_scale_and_mean_rps_multiply(flat: Path) -> None:
    world = scenario(
        TraceDemand(flat, scale=3.0),
        TraceDemand(flat, mean_rps=8.0),
        TraceDemand(flat, scale=0.5, mean_rps=8.0),
    )
    assert Demand.pack([world], [0]).rates(10, 1)[0, 0].tolist() == [150.0, 8.0, 4.0]


def test_before_time_zero_the_load_stays_at_its_first_value(tmp_path: Path) -> None:
    path = trace_file(tmp_path / "trace.csv", np.array([0.0, DAY_S, 2 * DAY_S]), np.array([10.0, 20.0, 30.0]))
    world = scenario(TraceDemand(path, offset_s=DAY_S / 2))
    assert Demand.pack([world], [0]).rates(-240, 240)[0, :, 0].tolist() == [15.0] * 240


def test_a_horizon_beyond_the_trace_is_refused_with_the_seconds_to_cut(flat: Path) -> None:
    with pytest.raises(InputError, match="lower days or offset by 258900 s"):
        Demand.pack([scenario(TraceDemand(flat), horizon_s=5 * DAY_S)], [0])
    with pytest.raises(InputError, match="did you mean load"):
        Demand.pack([scenario(TraceDemand(flat, column="laod"))], [0])


def test_a_repeated_trace_starts_over_one_step_after_its_end(tmp_path: Path) -> None:
    path = trace_file(tmp_path / "trace.csv", np.arange(0.0, DAY_S, 900.0), np.arange(96.0))
    world = scenario(TraceDemand(path, repeat=True, offset_s=5.5 * DAY_S), horizon_s=3 * DAY_S, tick_s=60.0)
    days = Demand.pack([world], [0]).rates(0, 3 * 1440)[0, :, 0].reshape(3, 1440)
    assert np.allclose(days[0], days[1], rtol=1e-9)
    assert np.allclose(days[0], days[2], rtol=1e-9)
    assert days[0, 0] == pytest.approx(48.0 + 0.5 / 15)  # half a day into the trace
    assert days[0, 720] == pytest.approx(0.5 / 15)


# chunks, seeds, stacks


@SETTINGS
@given(
    cuts=st.lists(st.integers(1, 150), min_size=1, max_size=6),
    start=st.integers(-240, 400),
    seed=st.integers(0, 9),
)
def test_arrivals_are_equal_bytes_however_the_ticks_are_cut(flat: Path, cuts: list[int], start: int, seed: int) -> None:
    world = scenario(TraceDemand(flat), TraceDemand(flat, scale=0.01), GeneratedDemand(burst_per_day=20.0))
    demand = Demand.pack([world, world], [seed, seed + 1])
    whole = demand.arrivals(start, sum(cuts))
    parts = [demand.arrivals(start + sum(cuts[:i]), n) for i, n in enumerate(cuts)]
    assert np.concatenate(parts, axis=1).tobytes() == whole.tobytes()


def test_arrivals_do_not_depend_on_horizon_warmup_batch_or_neighbours(flat: Path) -> None:
    one, other = TraceDemand(flat), GeneratedDemand(noise_cv=0.3, burst_per_day=4.0)
    base = Demand.pack([scenario(one, other)], [7]).arrivals(-100, 3000)
    longer = scenario(one, other, one, horizon_s=1.9 * DAY_S, warmup_s=7200.0)
    again = Demand.pack([scenario(other), longer], [3, 7]).arrivals(-100, 3000)
    assert base[0].tobytes() == np.ascontiguousarray(again[1, :, :2]).tobytes()


def test_seeds_and_names_differ_and_equal_ones_agree(flat: Path) -> None:
    world = scenario(TraceDemand(flat), TraceDemand(flat))
    demand = Demand.pack([world, world, world], [1, 2, 1])
    out = demand.arrivals(0, 4000)
    assert np.array_equal(out[0], out[2])
    assert abs(np.corrcoef(out[0, :, 0], out[1, :, 0])[0, 1]) < 0.1
    assert abs(np.corrcoef(out[0, :, 0], out[0, :, 1])[0, 1]) < 0.1


def test_a_narrower_cluster_is_padded_with_no_load(flat: Path) -> None:
    wide, narrow = scenario(TraceDemand(flat), TraceDemand(flat)), scenario(TraceDemand(flat))
    out = Demand.pack([wide, narrow], [0, 0]).arrivals(0, 50)
    assert not out[1, :, 1].any()
    assert out[0, :, 1].all()


def test_ticks_outside_warmup_and_horizon_are_refused(flat: Path) -> None:
    demand = Demand.pack([scenario(TraceDemand(flat))], [0])
    with pytest.raises(ValueError, match="outside"):
        demand.arrivals(-241, 1)
    with pytest.raises(ValueError, match="outside"):
        demand.arrivals(5760, 1)


def test_an_edited_file_is_read_again(tmp_path: Path) -> None:
    time = np.array([0.0, DAY_S])
    path = trace_file(tmp_path / "trace.csv", time, np.array([1.0, 1.0]))
    assert Demand.pack([scenario(TraceDemand(path))], [0]).rates(0, 1)[0, 0, 0] == 1.0
    trace_file(path, time, np.array([22.0, 22.0]))
    assert Demand.pack([scenario(TraceDemand(path))], [0]).rates(0, 1)[0, 0, 0] == 22.0


def test_bridged_holes_of_the_columns_in_use_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    cells = {500: "1,", 1000: ",", 1200: ",3", 1201: ",3", 6000: ",3"}  # row 1000 misses both
    path.write_text("time,a,b\n" + "\n".join(f"{60 * i},{cells.get(i, '1,3')}" for i in range(7000)))
    demand = Demand.pack([scenario(TraceDemand(path, "a"), GeneratedDemand())], [0])
    assert demand.notes == ("trace.csv: 2 holes, 3 min in all, the longest 2 min (a): bridged by straight lines",)


# noise


def test_without_noise_arrivals_are_rate_times_tick(flat: Path) -> None:
    demand = Demand.pack([scenario(TraceDemand(flat), noise=QUIET)], [0])
    assert np.array_equal(demand.arrivals(-10, 30), demand.rates(-10, 30) * 15.0)


@pytest.mark.parametrize("rate", [0.02, 0.5, 3.0, 50.0, 4000.0])
@pytest.mark.parametrize("dispersion", [1.0, 1.5, 2.0, 6.0, 40.0])
def test_counts_have_the_stated_mean_and_variance(tmp_path: Path, rate: float, dispersion: float) -> None:
    path = trace_file(tmp_path / "trace.csv", np.arange(0.0, 5 * DAY_S, 300.0), np.full(1440, rate))
    noise = NoiseModel(cv=0.0, dispersion=dispersion)
    world = scenario(*[TraceDemand(path)] * 20, kinds=("queue",) * 20, horizon_s=DAY_S, noise=noise)
    counts = Demand.pack([world], [5]).arrivals(0, 5760)
    mean, n = rate * 15.0, counts.size
    fourth = mean * dispersion * (1 + 6 * dispersion * dispersion) + 3 * (mean * dispersion) ** 2
    assert np.array_equal(counts, np.rint(counts))
    assert counts.min() >= 0
    assert abs(counts.mean() - mean) < 4.5 * math.sqrt(mean * dispersion / n)
    assert abs(counts.var() - mean * dispersion) < 4.5 * math.sqrt(fourth / n)


@pytest.mark.parametrize("rate", [0.004, 0.1, 3.0, 50.0, 4000.0])
@pytest.mark.parametrize("dispersion", [1.0, 1.5, 2.0, 6.0])
def test_services_get_the_gamma_mixed_mean_behind_a_count(tmp_path: Path, rate: float, dispersion: float) -> None:
    path = trace_file(tmp_path / "trace.csv", np.arange(0.0, 5 * DAY_S, 300.0), np.full(1440, rate))
    noise = NoiseModel(cv=0.0, dispersion=dispersion)
    world = scenario(*[TraceDemand(path)] * 20, horizon_s=DAY_S, noise=noise)
    means = Demand.pack([world], [5]).arrivals(0, 5760)[0]
    mean, over = rate * 15.0, dispersion - 1.0
    if over == 0.0:
        assert np.all(means == pytest.approx(mean, rel=1e-12))
        return
    shape, n = mean / over, means.size
    assert means.min() >= 0.0
    assert abs(means.mean() - mean) < 4.5 * math.sqrt(mean * over / n)
    fourth = (3.0 + 6.0 / shape) * (mean * over) ** 2
    assert abs(means.var() - mean * over) < 4.5 * math.sqrt(fourth / n)
    for level in (0.1, 0.5, 0.9, 0.99):  # the whole law, from an independent sampler
        drawn = np.quantile(np.random.default_rng(1).gamma(shape, over, 400_000), level)
        spread = 4.5 * math.sqrt(level * (1 - level) * (1 / n + 1 / 400_000))
        assert np.mean(means <= drawn) == pytest.approx(level, abs=spread)
    assert abs(np.corrcoef(means[:-1, 0], means[1:, 0])[0, 1]) < 0.06
    assert abs(np.corrcoef(means[:, 0], means[:, 1])[0, 1]) < 0.06


def test_small_counts_follow_the_negative_binomial(tmp_path: Path) -> None:
    path = trace_file(tmp_path / "trace.csv", np.array([0.0, DAY_S]), np.array([0.2, 0.2]))
    noise = NoiseModel(cv=0.0, dispersion=2.0)
    world = scenario(*[TraceDemand(path)] * 20, kinds=("queue",) * 20, noise=noise)
    counts = Demand.pack([world], [5]).arrivals(0, 5760)
    r = 3.0  # mean 3, dispersion 2: shape mean / (D - 1), success 1 / D
    for k in range(8):
        share = math.exp(math.lgamma(r + k) - math.lgamma(r) - math.lgamma(k + 1) - (r + k) * math.log(2.0))
        assert np.mean(counts == k) == pytest.approx(share, abs=4.5 * math.sqrt(share / counts.size))


def test_noise_has_mean_one_and_the_stated_deviation_and_autocorrelation(tmp_path: Path) -> None:
    path = trace_file(tmp_path / "trace.csv", np.arange(0.0, 6 * DAY_S, 300.0), np.full(1728, 1e9))
    noise = NoiseModel(cv=0.2, tau_s=600.0, dispersion=1.0)
    world = scenario(*[TraceDemand(path)] * 30, horizon_s=5 * DAY_S, noise=noise)
    factor = Demand.pack([world], [0]).arrivals(0, 28_800)[0] / 1.5e10
    cv, rho = tick_noise(noise, cv=0.2, step_s=300.0, tick_s=15.0)
    logs = np.log(factor)
    assert factor.mean() == pytest.approx(1.0, abs=0.002)
    assert factor.std() == pytest.approx(cv, rel=0.02)
    for lag in (1, 5, 20, BLOCK, 2 * BLOCK):
        early, late = logs[:-lag], logs[lag:]
        measured = np.mean((early - logs.mean()) * (late - logs.mean())) / logs.var()
        assert measured == pytest.approx(rho**lag, abs=0.02)


def test_noise_is_as_wide_inside_a_block_as_at_its_anchors(tmp_path: Path) -> None:
    path = trace_file(tmp_path / "trace.csv", np.arange(0.0, 6 * DAY_S, 3600.0), np.full(144, 1e9))
    world = scenario(*[TraceDemand(path)] * 50, horizon_s=2 * DAY_S, noise=NoiseModel(cv=0.3, tau_s=900.0))
    logs = np.log(Demand.pack([world], [0]).arrivals(0, 11_520)[0] / 1.5e10)
    by_place = logs.reshape(-1, BLOCK, 50).std(axis=(0, 2))
    assert by_place == pytest.approx(np.full(BLOCK, logs.std()), rel=0.05)


def test_warmup_has_noise_of_the_same_law(flat: Path) -> None:
    world = scenario(*[TraceDemand(flat)] * 50, warmup_s=DAY_S, noise=NoiseModel(cv=0.3, tau_s=60.0, dispersion=1.0))
    out = Demand.pack([world], [0]).arrivals(-5760, 11_520)[0]
    assert out[:5760].mean() == pytest.approx(out[5760:].mean(), rel=0.01)
    assert out[:5760].std() == pytest.approx(out[5760:].std(), rel=0.02)


@given(x=st.floats(0.0, 500.0))
def test_averaged_share_is_a_share_and_falls(x: float) -> None:
    assert 0.0 < averaged_share(x) <= 1.0
    assert averaged_share(x + 0.1) < averaged_share(x)


@given(tau=st.floats(1.0, 1e5), step=st.floats(1.0, 1e5), cv=st.floats(0.0, 2.0))
def test_noise_added_to_a_trace_never_exceeds_the_process_and_stops_at_the_tick(
    tau: float, step: float, cv: float
) -> None:
    noise = NoiseModel(tau_s=tau)
    added, rho = tick_noise(noise, cv=cv, step_s=step, tick_s=15.0)
    assert 0.0 <= added <= cv
    assert 0.0 <= rho < 1.0
    if step <= 15.0:
        assert added == 0.0


@given(rho=st.floats(0.0, 0.999999))
def test_bridge_weights_keep_a_unit_process_unit(rho: float) -> None:
    """Chaining the conditional laws from start to end gives back variance 1 and correlation rho^k."""
    weights = bridge_weights(rho, 16)
    end = np.array([rho**16, math.sqrt(max(1 - rho**32, 0.0))])  # in terms of (start, innovation of the end)
    start, own, noise = 1.0, 0.0, 0.0
    for k, (keep, lead, fresh) in enumerate(weights, start=1):
        start, own = keep * start + lead * end[0], keep * own + lead * end[1]
        noise = keep * keep * noise + fresh * fresh
        assert start == pytest.approx(rho**k, abs=1e-6)
        assert start * start + own * own + noise == pytest.approx(1.0, abs=1e-6)


def test_anchors_keep_their_values_when_the_range_grows() -> None:
    key = np.array([[1, 2**63 + 5]], np.uint64)
    rho = np.array([[0.5, 0.9]])
    long = anchor_noise(key, rho, range(-50, 80))
    assert np.array_equal(anchor_noise(key, rho, range(-7, 10)), long[..., 43:60])
    assert np.array_equal(anchor_noise(key, rho, range(3, 10)), long[..., 53:60])


# kinds and generators


def test_batch_work_comes_at_the_top_of_the_hour(tmp_path: Path) -> None:
    path = trace_file(tmp_path / "trace.csv", np.array([0.0, DAY_S, 2 * DAY_S]), np.array([0.0, 240.0, 480.0]))
    world = scenario(TraceDemand(path), kinds=("batch",), noise=QUIET)
    units = Demand.pack([world], [0]).arrivals(-240, 240 + 5760)[0, :, 0]
    hours = np.flatnonzero(units)
    assert hours.tolist() == [240 * h for h in range(1, 25)]  # the first is at time 0; before it 0 units/h
    assert units[240] == pytest.approx(5.0)  # mean over [0 h, 1 h] of 10 units/h per hour
    assert units.sum() == pytest.approx(2880.0)


@pytest.mark.parametrize("tick_s", [7.0, 15.0, 25.0, 60.0])
def test_batch_work_is_released_in_the_tick_it_comes_in(tmp_path: Path, tick_s: float) -> None:
    path = trace_file(tmp_path / "trace.csv", np.array([0.0, DAY_S]), np.array([240.0, 240.0]))
    world = scenario(TraceDemand(path), kinds=("batch",), noise=QUIET, tick_s=tick_s, horizon_s=7200.0)
    units = Demand.pack([world], [0]).arrivals(0, math.floor(7200 / tick_s))[0, :, 0]
    length = cohorts_needed(3600.0, 3600.0)
    ring, meta = np.zeros((1, 1, length)), np.zeros((1, 1, META))
    for i, items in enumerate(units):
        good, bad, _, served, backlog, _ = batch_tick(
            ring, meta, 0, 0, length, items, i * tick_s, tick_s, 300.0 / tick_s, 1.0, 1.0, 3600.0, 1.0
        )
        assert (good, bad, served, backlog) == pytest.approx((items, 0.0, items, 0.0))
    assert np.count_nonzero(units) == 2


def test_generated_shape_peaks_at_its_hour_and_rests_at_the_weekend() -> None:
    shape = GeneratedDemand(base_rps=100.0, daily_amplitude=0.5, weekly_amplitude=0.2, peak_hour=14.0)
    rates = Demand.pack([scenario(shape, horizon_s=7 * DAY_S)], [0]).rates(0, 7 * 5760)[0, :, 0]
    days = rates.reshape(7, 5760)
    assert (days.argmax(axis=1) / 240).tolist() == pytest.approx([14.0] * 7, abs=0.3)
    assert days[1].mean() == pytest.approx(100.0, rel=1e-3)
    assert days[5, 2000:4000].mean() == pytest.approx(0.8 * days[2, 2000:4000].mean(), rel=1e-3)
    assert days[2].max() == pytest.approx(150.0, rel=1e-3)


def test_clock_change_brings_the_shape_an_hour_earlier() -> None:
    shape = GeneratedDemand(dst_shift_at_s=DAY_S, weekly_amplitude=0.0)
    days = Demand.pack([scenario(shape, horizon_s=2 * DAY_S)], [0]).rates(0, 2 * 5760)[0, :, 0].reshape(2, 5760)
    assert days[0].argmax() - days[1].argmax() == pytest.approx(240, abs=62)
    assert np.allclose(days[1, 100:5000], days[0, 340:5240], rtol=2e-3)


def test_flash_crowd_rises_within_a_tenth_and_ends() -> None:
    plain = GeneratedDemand(base_rps=10.0, daily_amplitude=0.0, weekly_amplitude=0.0)
    shape = dataclasses.replace(plain, flash_at_s=(3600.0,), flash_factor=5.0, flash_s=1800.0)
    rates = Demand.pack([scenario(shape)], [0]).rates(0, 5760)[0, :, 0]
    assert rates[:240].max() == 10.0
    assert rates.argmax() in (251, 252)
    assert rates.max() == pytest.approx(50.0, rel=0.05)
    assert rates[360:].max() == pytest.approx(10.0)


def test_trend_grows_by_day_and_never_goes_below_zero() -> None:
    shape = GeneratedDemand(daily_amplitude=0.0, weekly_amplitude=0.0, trend_per_day=0.1)
    rates = Demand.pack([scenario(shape, horizon_s=3 * DAY_S)], [0]).rates(0, 17_280)[0, :, 0]
    assert rates[-1] == pytest.approx(130.0, rel=1e-3)
    down = dataclasses.replace(shape, trend_per_day=-0.5)
    assert Demand.pack([scenario(down, horizon_s=3 * DAY_S)], [0]).rates(0, 17_280).min() == 0.0


def test_bursts_come_as_often_as_asked_and_differ_by_seed() -> None:
    shape = GeneratedDemand(daily_amplitude=0.0, weekly_amplitude=0.0, burst_per_day=6.0, burst_factor=2.0)
    demand = Demand.pack([scenario(shape, horizon_s=30 * DAY_S)] * 2, [0, 1])
    rates = demand.rates(0, 30 * 5760)[:, :, 0]
    extra = (rates - 100.0).sum(axis=1) * 15.0 / (100.0 * 600.0 * 0.9)  # one trapezoid is 0.9 x burst_s
    assert extra == pytest.approx([180.0, 180.0], abs=4.5 * math.sqrt(180.0))
    assert not np.array_equal(rates[0], rates[1])


def test_rate_quantile_is_that_of_the_ticks(tmp_path: Path) -> None:
    path = trace_file(tmp_path / "trace.csv", np.array([0.0, DAY_S]), np.array([0.0, 100.0]))
    world = scenario(
        GeneratedDemand(),
        TraceDemand(path),
        TraceDemand(path, scale=36.0),
        kinds=("service", "queue", "batch"),
    )
    assert rate_quantile(world, 1, 0.95) == pytest.approx(95.0, rel=1e-3)
    assert rate_quantile(world, 1, 1.0) == pytest.approx(100.0, rel=1e-3)
    assert rate_quantile(world, 2, 0.5) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("name", ["aiops2018_demo.csv.gz", "nab_demo.csv.gz"])
def test_shipped_load_can_be_played_to_its_end(name: str) -> None:
    path = Path(__file__).parent.parent / "envs" / "data" / "load" / name
    days = 14 if name.startswith("aiops") else 30
    header = gzip.decompress(path.read_bytes()).split(b"\n", maxsplit=1)[0].decode().split(",")[1:]
    world = scenario(*[TraceDemand(path, column, mean_rps=20.0) for column in header], horizon_s=days * DAY_S)
    rates = Demand.pack([world], [0]).rates(0, days * 5760)[0]
    assert rates.mean(axis=0) == pytest.approx(np.full(len(header), 20.0), rel=1e-3)
