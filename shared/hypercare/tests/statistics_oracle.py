"""What `src/stats` is compared with, computed by others.

Python 3.11 with numpy 2.4.6, scipy 1.17.1, statsmodels 0.15.0 and pymannkendall 1.4.3 wrote `statistics.json`:

    python tests/statistics_oracle.py > tests/statistics.json

Where no library has a method (the escalation limit, CUSUM, the two lines of a knee) its published formula is written
out here, in other words than in the code.
"""

import json
import math
import statistics

import numpy
import pymannkendall
from scipy import special, stats
from statsmodels.stats.multitest import fdrcorrection
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

random = numpy.random.default_rng(20261124)
vectors = []


def vector(function, given, expected):
    vectors.append({"function": function, "given": given, "expected": expected})


def rounded(values, digits=3):
    return [round(float(value), digits) for value in values]


for z in [0, 0.1, -0.5, 1, 1.96, 2.5, 2.82, 2.83, 2.84, 3.5, 5, -8, 12, 30]:
    vector("two_sided", z, 2 * stats.norm.sf(abs(z)))
for degrees in [4, 5, 8, 12, 28, 100]:
    vector("student_95", degrees, stats.t.ppf(0.975, degrees))

for size, floor in [(1, 0.5), (2, 0.5), (9, 0.0), (40, 0.0), (41, 30.0)]:
    values = rounded(random.normal(200, 20, size))
    median = float(numpy.median(values))
    spread = float(stats.median_abs_deviation(values, scale="normal"))
    spread = max(spread, floor, 0.05 * median)
    x = round(float(random.normal(200, 80)), 3)
    vector("usual", [values, floor, 0.05, x], [median, spread, (x - median) / spread])

for size, width in [(700, 168), (400, 168), (200, 24), (50, 1)]:
    hours = numpy.arange(size)
    values = rounded(300 + 200 * (hours % 24 > 8) + 150 * (hours % 168 > 120) + random.normal(0, 15, size))
    alike = {shift: [value for at, value in enumerate(values) if (size - at) % width == shift % width] for shift in (0, 1, -1)}
    if width == 1:
        alike = {0: alike[0]}
    distances = [value - float(numpy.median(group)) for group in alike.values() for value in group]
    spread = float(numpy.median(numpy.abs(distances))) / float(stats.norm.ppf(0.75))
    vector("usual_at", values, [float(numpy.median(alike[0])), spread, len(distances)])

for size, slope, ties in [(3, 1, False), (14, 2, False), (30, 0.3, False), (30, 0, True), (20, -1, True)]:
    values = rounded(100 + slope * numpy.arange(size) + random.normal(0, 4, size), 0 if ties else 3)
    test = pymannkendall.original_test(values)
    sen = stats.theilslopes(values, numpy.arange(size))
    assert math.isclose(sen.slope, test.slope) and math.isclose(sen.intercept, test.intercept)
    tau = stats.kendalltau(numpy.arange(size), values, method="asymptotic")
    # The same statistic without the step towards zero.
    assert math.isclose(tau.pvalue, 2 * stats.norm.sf(abs(test.s) / math.sqrt(test.var_s)), rel_tol=1e-9)
    vector("trend", values, [test.s, test.z, test.p, float(test.slope), float(test.intercept)])
# Days are missing.
days = [0, 1, 2, 5, 6, 9, 10, 13]
values = rounded(50 + 3 * numpy.array(days) + random.normal(0, 2, len(days)))
sen = stats.theilslopes(values, days)
vector("slope", [days, values], [float(sen.slope), float(sen.intercept)])

for size, shift in [(10, 0), (40, 1), (40, -1.5)]:
    values = rounded(random.normal(10, 2, size) + 2 * shift * (numpy.arange(size) > size / 2))
    # The sum is the greatest rise of the plain sums over their lowest point so far.
    sums = []
    for sign in [1, -1]:
        steps = numpy.cumsum([0.0] + [sign * (value - 10) / 2 - 0.5 for value in values])
        sums.append(float(steps[-1] - steps.min()))
    vector("cusum", [values, 10, 2], sums)

for before, now in [
    ([100, 200, 300, 200, 100], [100, 200, 300, 200, 100]),
    ([100, 200, 300, 200, 100], [50, 100, 300, 300, 150]),
    ([500, 300, 200, 0], [400, 300, 250, 50]),
    ([500, 300, 150, 50], [600, 400, 0, 0]),
]:
    shares = [[count / sum(counts) if count else 1e-4 for count in counts] for counts in (before, now)]
    expected = sum(special.rel_entr(*shares)) + sum(special.rel_entr(*reversed(shares)))
    vector("psi", [before, now], float(expected))

for a, b in [((30, 1000), (10, 1000)), ((3, 50), (100, 5000)), ((0, 100), (5, 120)), ((80, 100), (60, 100))]:
    z, p = proportions_ztest([a[0], b[0]], [a[1], b[1]])
    vector("compare", [*a, *b], [a[0] / a[1] - b[0] / b[1], float(z), float(p)])
for part, every in [(0, 10), (1, 10), (5, 10), (10, 10), (37, 1000), (1, 100000)]:
    vector("interval", [part, every], [float(bound) for bound in proportion_confint(part, every, method="wilson")])
for p in [
    [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216],
    [0.5, 0.01, 0.6, 0.02, 0.7, 0.03],
    [0.2, 0.9],
    [0.049],
]:
    vector("discoveries", p, [bool(one) for one in fdrcorrection(p, alpha=0.05)[0]])

for size, at, bend in [(12, 60, 4), (40, 80, 2), (30, 50, 0.2)]:
    load = numpy.sort(numpy.round(random.uniform(5, 100, size), 1))
    value = numpy.round(200 + 0.5 * load + bend * numpy.maximum(0, load - at) + random.normal(0, 3, size), 2)

    def fit(*columns):
        matrix = numpy.column_stack([numpy.ones(size), *columns])
        solution = numpy.linalg.lstsq(matrix, value, rcond=None)[0]
        return solution, float(numpy.sum((value - matrix @ solution) ** 2))

    line = fit(load)[1]
    best = min((fit(load, numpy.maximum(0, load - k)) + (k,) for k in load[2:-2]), key=lambda found: found[1])
    (_, before, change), left, k = best
    vector("knee", [list(load), list(value)], [float(k), float(before), float(before + change), 1 - left / line])


def escalating(first, counts, hour):
    if len(counts) < 168:
        return 10 * max(counts)
    average, spread = statistics.mean(counts), statistics.stdev(counts)
    bursty = max(counts) * min(max(2, 5 * math.exp(-0.65 * spread / average)), 5)
    spike = min(max((average + 5 * spread) / average, 5), 8) * average
    weights = [2 if (first + at) // 24 % 7 == hour // 24 % 7 else 1 for at in range(len(counts))]
    return int(max(bursty, float(numpy.average(counts, weights=weights)) + spike))


steady = [int(count) for count in random.poisson(20, 168)]
bursts = [int(count) for count in random.poisson(0.2, 168)]
bursts[30] = 400
weekly = [50 if (490_000 + at) // 24 % 7 == 3 else 5 for at in range(168)]
for counts in [steady, bursts, weekly, steady[:40], [1]]:
    first = 490_000
    for hour in [first + len(counts), first + len(counts) + 30]:
        vector("surge", [first, counts, hour], escalating(first, counts, hour))

for size, noise, limit in [(7, 1, 200), (30, 8, 1000), (14, 60, 400)]:
    times = list(range(size))
    used = rounded(100 + 5 * numpy.arange(size) + random.normal(0, noise, size))
    line = stats.linregress(times, used)
    margin = float(stats.t.ppf(0.975, size - 2)) * float(line.stderr)
    middle = (statistics.mean(times), statistics.mean(used))

    def reached(slope):
        return max(0.0, middle[0] + (limit - middle[1]) / slope - times[-1]) if slope > 0 else None

    slope = float(line.slope)
    expected = [slope, reached(slope), reached(slope + margin), reached(slope - margin)]
    vector("exhaustion", [times, used, limit], expected)

print("[\n" + ",\n".join(json.dumps(one) for one in vectors) + "\n]")
