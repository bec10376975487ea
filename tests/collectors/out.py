"""What goes out of the gateway, taken in by what others made for it: Prometheus scrapes it and evaluates rules of its own,
promtool checks it, and a collector takes the spans and metrics and hands them on. What our own endpoints answer to a query
is what Prometheus answers.

HYPERGATE_WATCHED is the program of tests/examples/watched.rs, HYPERGATE_PROMETHEUS the folder of prometheus and promtool,
HYPERGATE_ROTEL the collector; the last two may be missing.
"""

import base64
import gzip
import json
import os
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = Path(__file__).parents[2]
BEARER = {"authorization": "Bearer admin-token"}
KINDS = {"traces": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest}

RULES = """
groups:
  - name: ours
    interval: 1s
    rules:
      - record: hypergate:error_share
        expr: >-
          sum(increase(hypergate_calls_total{outcome="error"}[30s])) / sum(increase(hypergate_calls_total[30s]))
      - alert: GatewayFails
        expr: hypergate:error_share > 0.25
        for: 2s
        labels: { severity: page }
        annotations: { summary: '{{ $value | humanizePercentage }} of calls fail' }
      - alert: SlowStart
        expr: >-
          histogram_quantile(0.95, sum by (le) (rate(hypergate_call_time_to_first_chunk_seconds_bucket[30s]))) > 60
      - alert: NobodyKeepsWatch
        expr: absent(hypergate_last_tick_timestamp_seconds)
        for: 30s
"""

CONFIG = """
global: {{ scrape_interval: 3s, scrape_timeout: 3s, evaluation_interval: 1s }}
rule_files: [rules.yml]
scrape_configs:
  - job_name: gateway
    authorization: {{ credentials: admin-token }}
    static_configs: [{{ targets: ['{address}'] }}]
"""

# Each of them in both: no windows, which Prometheus fills by guessing between scrapes.
QUERIES = [
    "hypergate_calls_total",
    "sum(hypergate_calls_total)",
    "sum by (outcome) (hypergate_calls_total)",
    "sum without (outcome, route) (hypergate_calls_total)",
    'hypergate_calls_total{outcome!="ok"} / 4 * 3 - 2 + 1',
    'sum(hypergate_calls_total{outcome="error"}) / sum(hypergate_calls_total)',
    'sum by (model) (hypergate_calls_total{outcome=~"e.+|x"}) / sum by (model) (hypergate_calls_total)',
    'hypergate_calls_total{model!~"(ec.*|x)"} > 1',
    "avg(hypergate_tokens_total)",
    'max by (type) (hypergate_tokens_total{type=~".*put"})',
    "min(hypergate_tokens_total) + 7 % 4",
    "count by (type) (hypergate_tokens_total)",
    "topk(2, hypergate_tokens_total)",
    "-sum(hypergate_cost_usd_total)",
    "histogram_quantile(0.5, sum by (le) (hypergate_call_wait_seconds_bucket))",
    "histogram_quantile(0.99, hypergate_call_duration_seconds_bucket)",
    "histogram_quantile(1, sum by (le, model) (hypergate_call_overhead_seconds_bucket))",
    "hypergate_call_duration_seconds_count",
    "sum(hypergate_call_duration_seconds_sum) / sum(hypergate_call_duration_seconds_count)",
    "vector(1) / 0",
    "2 * (3 - 5) / 4",
]


def fetch(url, body=None, headers=BEARER):
    request = urllib.request.Request(url, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def until(what, find, seconds=60):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        found = find()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


def start(test, command, **options):
    process = subprocess.Popen(command, **options)

    def stop():
        process.terminate()
        process.wait(timeout=20)
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()

    test.addCleanup(stop)
    return process


def gateway(test):
    process = start(test, [os.environ["HYPERGATE_WATCHED"]], stdout=subprocess.PIPE, text=True)
    return process.stdout.readline().strip()


def free_port():
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_address[1]


@unittest.skipUnless(os.environ.get("HYPERGATE_PROMETHEUS"), "there is no Prometheus")
class Prometheus(unittest.TestCase):
    def setUp(self):
        self.tools = Path(os.environ["HYPERGATE_PROMETHEUS"])
        self.address = gateway(self)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "rules.yml").write_text(RULES)
        (self.folder / "prometheus.yml").write_text(CONFIG.format(address=self.address))

    def promtool(self, *words, text=None):
        done = subprocess.run(
            [self.tools / "promtool", *words], input=text, text=True, cwd=self.folder, capture_output=True
        )
        self.assertEqual((done.returncode, done.stderr.strip()), (0, ""), done.stdout)

    def ask(self, base, query):
        url = f"{base}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        answer = json.loads(fetch(url))
        self.assertEqual(answer["status"], "success")
        if answer["data"]["resultType"] == "scalar":
            return {"": float(answer["data"]["result"][1])}
        found = {}
        for series in answer["data"]["result"]:
            labels = {name: value for name, value in series["metric"].items() if name not in ("instance", "job")}
            found[json.dumps(labels, sort_keys=True)] = float(series["value"][1])
        return found

    def test_prometheus_scrapes_and_evaluates_rules_of_its_own(self):
        self.promtool("check", "config", "prometheus.yml")
        # It also has an opinion on names and units.
        self.promtool("check", "metrics", text=fetch(f"http://{self.address}/metrics").decode())

        port = free_port()
        base = f"http://127.0.0.1:{port}"
        log = open(self.folder / "log", "w")
        self.addCleanup(log.close)
        start(
            self,
            [
                self.tools / "prometheus",
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=self.folder,
            stdout=log,
            stderr=log,
        )

        def alerts():
            try:
                return json.loads(fetch(f"{base}/api/v1/alerts"))["data"]["alerts"]
            except urllib.error.URLError:
                return []

        firing = until("an alert of its own", lambda: [a for a in alerts() if a["state"] == "firing"])
        self.assertEqual([alert["labels"]["alertname"] for alert in firing], ["GatewayFails"])
        self.assertEqual(firing[0]["annotations"]["summary"], "40% of calls fail")
        [target] = json.loads(fetch(f"{base}/api/v1/targets"))["data"]["activeTargets"]
        self.assertEqual((target["health"], target["lastError"]), ("up", ""))
        rules = json.loads(fetch(f"{base}/api/v1/rules"))["data"]["groups"][0]["rules"]
        self.assertEqual([rule["health"] for rule in rules], ["ok"] * 4)

        # From here on both see the same.
        try:
            fetch(f"http://{self.address}/freeze")
        except urllib.error.HTTPError:
            pass
        ours = f"http://{self.address}/admin/v1/prometheus"
        until(
            "a scrape of what is frozen",
            lambda: self.ask(base, "sum(hypergate_calls_total)") == self.ask(ours, "sum(hypergate_calls_total)"),
        )
        for query in QUERIES:
            with self.subTest(query):
                theirs, found = self.ask(base, query), self.ask(ours, query)
                self.assertEqual(found.keys(), theirs.keys())
                for labels, value in theirs.items():
                    self.assertAlmostEqual(found[labels], value, 9, labels)
                self.assertTrue(found)
        # And the dashboard works there as well.
        dashboard = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "30s").replace("$__range", "60s")
                for variable in ("$tenant", "$provider", "$model"):
                    query = query.replace(variable, ".*")
                with self.subTest(query):
                    self.ask(base, query)


class Collector(unittest.TestCase):
    def sent(self):
        """What the gateway sent to each address, after some minutes of calls."""
        address = gateway(self)
        for _ in range(3):
            fetch(f"http://{address}/metrics")
        sent = {}
        for request in json.loads(fetch(f"http://{address}/sent")):
            kind = request["url"].rsplit("/", 1)[1]
            sent.setdefault(kind, []).append(request)
        self.assertEqual(sorted(sent), ["in", "metrics", "traces"])
        return sent

    def parsed(self, kind, body):
        """Read strictly: a name or a type that the protocol does not have is an error."""

        def bytes_of(value):
            if isinstance(value, list):
                return [bytes_of(item) for item in value]
            if not isinstance(value, dict):
                return value
            # The one deviation from protobuf's own JSON.
            ids = ("traceId", "spanId", "parentSpanId")
            return {
                name: base64.b64encode(bytes.fromhex(item)).decode() if name in ids else bytes_of(item)
                for name, item in value.items()
            }

        return json_format.ParseDict(bytes_of(json.loads(body)), KINDS[kind]())

    def items(self, kind, requests):
        """Spans, or points with their metric, as sorted texts."""
        found = []
        for request in requests:
            for resource in request.resource_spans if kind == "traces" else request.resource_metrics:
                for scope in resource.scope_spans if kind == "traces" else resource.scope_metrics:
                    if kind == "traces":
                        found += [f"{resource.resource} {span}" for span in scope.spans]
                    for metric in scope.metrics if kind == "metrics" else []:
                        temporality = metric.histogram.aggregation_temporality
                        for point in metric.histogram.data_points:
                            found.append(f"{resource.resource} {metric.name} {metric.unit} {temporality} {point}")
        return sorted(found)

    def test_what_is_sent_is_what_the_protocol_has(self):
        sent = self.sent()
        for kind in KINDS:
            for request in sent[kind]:
                self.assertEqual(request["type"], "application/json")
                parsed = self.parsed(kind, request["body"])
                self.assertTrue(self.items(kind, [parsed]))
        spans = [
            span
            for request in sent["traces"]
            for resource in self.parsed("traces", request["body"]).resource_spans
            for span in resource.scope_spans[0].spans
        ]
        self.assertTrue(all(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in spans))
        self.assertTrue(all(span.end_time_unix_nano >= span.start_time_unix_nano > 0 for span in spans))
        self.assertEqual(len({span.span_id for span in spans}), len(spans))
        servers = [span for span in spans if span.kind == 2]
        self.assertEqual(len(servers), 30)
        lines = [json.loads(line) for request in sent["in"] for line in request["body"].splitlines()]
        self.assertEqual(len({line["id"] for line in lines}), 30)

    @unittest.skipUnless(os.environ.get("HYPERGATE_ROTEL"), "there is no collector")
    def test_a_collector_takes_it_and_hands_on_all_of_it(self):
        handed_on = {"traces": [], "metrics": []}

        class Sink(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                kind = self.path.rsplit("/", 1)[1]
                request = KINDS[kind]()
                request.ParseFromString(body)
                handed_on[kind].append(request)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        sink = HTTPServer(("127.0.0.1", 0), Sink)
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        self.addCleanup(sink.server_close)
        self.addCleanup(sink.shutdown)
        port, unused = free_port(), free_port()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        log = open(Path(folder.name) / "log", "w")
        self.addCleanup(log.close)
        start(
            self,
            [
                os.environ["HYPERGATE_ROTEL"],
                "start",
                f"--otlp-http-endpoint=127.0.0.1:{port}",
                f"--otlp-grpc-endpoint=127.0.0.1:{unused}",
                "--exporter=otlp",
                f"--otlp-exporter-endpoint=http://127.0.0.1:{sink.server_address[1]}",
                "--otlp-exporter-protocol=http",
            ],
            stdout=log,
            stderr=log,
            cwd=folder.name,
        )

        def post(kind, body):
            body, media = body.encode(), "application/json"
            if kind == "metrics":
                # This collector reads a metric in JSON without what it holds, so it gets the same message in binary.
                body, media = self.parsed(kind, body).SerializeToString(), "application/x-protobuf"
            try:
                return fetch(f"http://127.0.0.1:{port}/v1/{kind}", body, {"content-type": media}) or b"{}"
            except urllib.error.HTTPError as error:
                raise AssertionError(f"{kind}: {error.code} {error.read()}") from error
            except urllib.error.URLError:
                return None

        sent = self.sent()
        for kind in KINDS:
            for request in sent[kind]:
                answer = until("the collector's answer", lambda: post(kind, request["body"]))
                # All of it, in either encoding.
                self.assertIn(answer, [b'{"partialSuccess":null}', b"{}"])
        for kind in KINDS:
            expected = self.items(kind, [self.parsed(kind, request["body"]) for request in sent[kind]])
            until(
                f"all {kind} handed on",
                lambda: len(self.items(kind, handed_on[kind])) >= len(expected),
            )
            self.assertEqual(self.items(kind, handed_on[kind]), expected)


if __name__ == "__main__":
    unittest.main()
