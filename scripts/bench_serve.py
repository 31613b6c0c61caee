#!/usr/bin/env python3
"""Measures `serve` on a control plane that is started here and ended again, and prints a table.

Usage: bench_serve.py BED CONTROLLER [--nodes N] [--groups N] [--joining N] [--rest SECONDS] [--out FILE]

Nothing here is a gate. What is measured, and how, is in docs/benchmarks.md.
"""

import argparse
import datetime
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request


class Lines:
    """The lines of a process's stderr, each with the moment at which it was read."""

    def __init__(self, stream):
        self.lines, self.changed = [], threading.Condition()
        threading.Thread(target=self.read, args=(stream,), daemon=True).start()

    def read(self, stream):
        for line in stream:
            with self.changed:
                self.lines.append((time.time(), line))
                self.changed.notify_all()

    def wait_for(self, text, after=0.0, count=1, limit=1800):
        """The moment of the count-th line with this text that was read after `after`."""
        with self.changed:
            def found():
                hits = [at for at, line in self.lines if at > after and text in line]
                return hits[count - 1] if len(hits) >= count else None
            if not self.changed.wait_for(lambda: found() is not None, limit):
                sys.exit(f"no {count} lines with {text!r}; the last:\n" + "".join(l for _, l in self.lines[-5:]))
            return found()


def config(groups, tag):
    text = 'namespace = "pulls"\nconcurrency = 200\n'
    for group in range(groups):
        images = ", ".join(f'"registry.example.com/team/app-{group}-{n}:{tag}"' for n in range(3))
        # A swap is timed, and not the runs that would follow it.
        text += f'[[groups]]\nname = "group-{group}"\nimages = [{images}]\nrun_on_change = false\n'
    return text


def swap(mount, text):
    """What the kubelet does when a ConfigMap has changed."""
    version = tempfile.mkdtemp(prefix="..version_", dir=mount)
    with open(os.path.join(version, "quayctl.toml"), "w") as file:
        file.write(text)
    link = os.path.join(mount, "..data")
    os.symlink(os.path.basename(version), link + "_tmp")
    os.rename(link + "_tmp", link)
    return time.time()


def metrics(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^([a-z]\S*) (\S+)$", text, re.M)}


def requests(address):
    """Requests so far: watches, and all others."""
    counted = {name: n for name, n in metrics(address).items() if name.startswith("quayctl_api_requests_total")}
    watches = sum(n for name, n in counted.items() if 'verb="watch"' in name)
    return watches, sum(counted.values()) - watches


def until(holds, limit=1800):
    """Waits for something that only asking tells."""
    end = time.time() + limit
    while not holds():
        if time.time() > end:
            sys.exit("the Jobs did not come to an end")
        time.sleep(1)


def join_delays(audit_log):
    """Seconds from the answer that made a joined node Ready to that which created its first Job, sorted."""
    def moment(event):
        return datetime.datetime.fromisoformat(event["stageTimestamp"]).timestamp()

    ready, first_job = {}, {}
    with open(audit_log) as lines:
        for event in (json.loads(line) for line in lines if "joined-" in line):
            about = event.get("objectRef", {})
            if about.get("resource") == "nodes" and about.get("subresource") == "status" and event["verb"] == "patch":
                ready.setdefault(about["name"], moment(event))
            if about.get("resource") == "jobs" and event["verb"] == "create":
                node = re.search(r"joined-\d+", about["name"])
                if node:
                    first_job.setdefault(node.group(), moment(event))
    return sorted(first_job[node] - ready[node] for node in first_job)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid, what):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(rf"{what}:\s+(\d+)", status.read()).group(1)) / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bed")
    parser.add_argument("controller")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--groups", type=int, default=10)
    parser.add_argument("--joining", type=int, default=100)
    parser.add_argument("--rest", type=int, default=120)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--out")
    args = parser.parse_args()

    # What was started is ended, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="quayctl-bench-")
    bed, mount = os.path.join(folder, "bed"), os.path.join(folder, "config")
    os.mkdir(mount)
    up = [f"{args.bed}/bed", "up", "--dir", bed, "--nodes", str(args.nodes), "--mode", "open", "--realistic"]
    subprocess.run(up, check=True, stdout=subprocess.DEVNULL)
    serve = None
    try:
        kubectl = [os.path.join(bed, "bin/kubectl"), "--kubeconfig", os.path.join(bed, "kubeconfig")]
        subprocess.run([*kubectl, "create", "namespace", "pulls"], check=True, stdout=subprocess.DEVNULL)
        account = ["wait", "--for=create", "serviceaccount/default", "-n", "pulls", "--timeout=60s"]
        subprocess.run([*kubectl, *account], check=True, stdout=subprocess.DEVNULL)
        os.symlink("..data/quayctl.toml", os.path.join(mount, "quayctl.toml"))
        swap(mount, config(args.groups, "1"))
        command = [args.controller, "serve", "--listen", "127.0.0.1:0", "--config", os.path.join(mount, "quayctl.toml"),
                   "--kubeconfig", os.path.join(bed, "kubeconfig")]
        environment = {**os.environ, "QUAYCTL_CARRIER_IMAGE": "quayctl-controller:bench"}
        begun = time.time()
        serve = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        log = Lines(serve.stderr)
        log.wait_for("http://")
        address = re.search(r"http://(\S+)", log.lines[0][1]).group(1)
        first_runs = log.wait_for(f"finished: {args.nodes} succeeded", count=args.groups) - begun
        measured = {"nodes": args.nodes, "groups": args.groups, "runs of all groups, s": round(first_runs, 1)}

        # What a kubelet says of its node is kept, so that the simulation takes the new ones for its own.
        some = [*kubectl, "get", "nodes", "--chunk-size=1", "-o", "json"]
        like = json.loads(subprocess.run(some, check=True, capture_output=True, text=True).stdout)["items"][0]
        for number in range(args.joining):
            node = {"apiVersion": "v1", "kind": "Node",
                    "metadata": {"name": f"joined-{number:03}", "labels": like["metadata"]["labels"],
                                 "annotations": like["metadata"]["annotations"]},
                    "status": {key: like["status"][key] for key in ("nodeInfo", "capacity", "allocatable", "addresses")}}
            subprocess.run([*kubectl, "create", "-f", "-"], input=json.dumps(node), text=True, check=True,
                           stdout=subprocess.DEVNULL)
        expected = args.joining * args.groups
        until(lambda: sum(n for name, n in metrics(address).items() if name.startswith("quayctl_new_nodes_total")) >= expected)
        until(lambda: not any(metrics(address)[name] for name in ("quayctl_queue_depth", "quayctl_jobs_running")))
        delays = join_delays(os.path.join(bed, "state/audit.log"))
        measured["nodes that joined"] = len(delays)
        measured["node Ready to its first Job created, p50, s"] = round(statistics.median(delays), 3)
        measured["p99, s"] = round(delays[max(0, -(-len(delays) * 99 // 100) - 1)], 3)

        swaps = []
        for number in range(args.swaps):
            at = swap(mount, config(args.groups, f"1-{number}"))
            swaps.append(log.wait_for("config reloaded", after=at) - at)
        measured["swap to new config in force, median, s"] = round(statistics.median(swaps), 3)
        measured["longest, s"] = round(max(swaps), 3)

        measured["peak RSS, MiB"] = round(memory_mib(serve.pid, "VmHWM"), 1)
        (watches, others), cpu = requests(address), cpu_seconds(serve.pid)
        time.sleep(args.rest)
        (watches_after, others_after), cpu_after = requests(address), cpu_seconds(serve.pid)
        measured["RSS at rest, MiB"] = round(memory_mib(serve.pid, "VmRSS"), 1)
        measured["CPU at rest, % of a core"] = round(100 * (cpu_after - cpu) / args.rest, 2)
        measured["requests at rest in 30 s, without watches"] = round((others_after - others) * 30 / args.rest, 2)
        measured["watches begun in 30 s"] = round((watches_after - watches) * 30 / args.rest, 2)
        at = time.time()
        serve.send_signal(signal.SIGTERM)
        code = serve.wait(timeout=30)
        measured["SIGTERM to exit, s"] = round(time.time() - at, 2)
        measured["exit code"] = code
    finally:
        if serve and serve.poll() is None:
            serve.kill()
            serve.wait()
        # A large cluster that is busy may take longer to end than one call waits.
        down = [f"{args.bed}/bed", "down", "--dir", bed]
        any(subprocess.run(down, check=False, stdout=subprocess.DEVNULL).returncode == 0 for _ in range(5))
        shutil.rmtree(folder, ignore_errors=True)
    width = max(map(len, measured))
    for name, value in measured.items():
        print(f"{name:<{width}}  {value}")
    if args.out:
        with open(args.out, "w") as file:
            json.dump(measured, file, indent=2)


main()
