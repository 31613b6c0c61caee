#!/usr/bin/env python3
"""Measures what a pull ahead saves behind a thin link, on real nodes that are started here and ended again.

Usage: bench_pull.py BED PROGRAMS [--nodes N] [--megabytes M] [--rate BITS] [--rounds N] [--out FILE]

PROGRAMS is the folder of the controller and the static helper. Nothing here is a gate. What is measured, and how, is
in docs/benchmarks.md.
"""

import argparse
import base64
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

NAMESPACE = "pulls"
# A pod that has not begun after this time never will: an image may take minutes.
LIMIT_SECONDS = 3600


class Api:
    """The API server, without a client's own start in what is timed."""

    def __init__(self, kubeconfig):
        text = open(kubeconfig).read()
        def value(key):
            return re.search(rf"{key}: (\S+)", text).group(1)
        self.host = value("server").removeprefix("https://")
        self.headers = {"Authorization": f"Bearer {value('token')}", "Content-Type": "application/json"}
        self.tls = ssl.create_default_context(cadata=base64.b64decode(value("certificate-authority-data")).decode())

    def ask(self, method, path, body=None):
        connection = http.client.HTTPSConnection(self.host, context=self.tls, timeout=LIMIT_SECONDS)
        connection.request(method, path, body and json.dumps(body), self.headers)
        answer = connection.getresponse()
        if answer.status >= 400:
            sys.exit(f"{method} {path}: {answer.read().decode()}")
        return answer

    def started(self, node, image, name):
        """Seconds from the creation of a pod to when it is seen to run."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}
        spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
                "containers": [container]}
        begun = time.monotonic()
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.ask("POST", path, pod).read()
        events = self.ask("GET", f"{path}?watch=1&fieldSelector=metadata.name={name}")
        for line in events:
            if json.loads(line)["object"].get("status", {}).get("phase") == "Running":
                break
        took = time.monotonic() - begun
        events.close()
        self.ask("DELETE", f"{path}/{name}").read()
        return took


class Site:
    """The nodes, their registry and the link between them."""

    def __init__(self, args, folder):
        self.args, self.dir, self.images = args, os.path.join(folder, "bed"), 0
        up = [f"{args.bed}/bed", "up", "--dir", self.dir, "--nodes", "0", "--mode", "open", "--real-nodes", str(args.nodes)]
        subprocess.run(up, check=True, stdout=subprocess.DEVNULL)
        self.kubeconfig = os.path.join(self.dir, "kubeconfig")
        with open(os.path.join(self.dir, "state/bed.json")) as record:
            self.control = json.load(record)["registry"]
        self.api = Api(self.kubeconfig)
        self.api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}}).read()
        account = ["wait", "--for=create", "serviceaccount/default", "-n", NAMESPACE, "--timeout=60s"]
        subprocess.run([os.path.join(self.dir, "bin/kubectl"), "--kubeconfig", self.kubeconfig, *account], check=True,
                       stdout=subprocess.DEVNULL)
        self.host = self.registry("face", "add", "bench")["host"]
        self.helper = ["--file", f"/pause={args.programs}/pause", "--entrypoint", "/pause"]
        self.registry("push", "carrier:1", "--user", "65532", *self.helper)
        self.nodes = [f"real-{number:03}" for number in range(1, args.nodes + 1)]
        # Carrier and connections are not what is measured.
        self.pull_ahead(self.image("1MB"), self.nodes)
        self.registry("link", "--rate", str(args.rate))

    def registry(self, *words):
        command = [f"{self.args.bed}/registry", *words, "--control", self.control]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(said or "null")

    def image(self, size=None):
        """An image that no node has."""
        self.images += 1
        name = f"bench/app:{self.images}"
        self.registry("push", name, "--size", size or f"{self.args.megabytes}MB", "--layers", "4", *self.helper)
        return f"{self.host}/{name}"

    def bytes_over_link(self):
        return self.registry("link")["tx_bytes"]

    def pull_ahead(self, image, nodes):
        """Seconds of a run of the controller."""
        config = os.path.join(os.path.dirname(self.dir), "quayctl.toml")
        with open(config, "w") as file:
            file.write(f'[[groups]]\nname = "bench"\nimages = ["{image}"]\nnode_selector = "quayctl.test/real=true"\n'
                       'deadline = "30m"\n')
        only = [word for node in nodes for word in ("--node", node)]
        command = [f"{self.args.programs}/quayctl-controller", "run", "-n", NAMESPACE, "--config", config, *only]
        environment = {**os.environ, "QUAYCTL_CARRIER_IMAGE": f"{self.host}/carrier:1", "KUBECONFIG": self.kubeconfig}
        begun = time.monotonic()
        ended = subprocess.run(command, capture_output=True, text=True, env=environment)
        if ended.returncode != 0:
            sys.exit(f"the run failed:\n{ended.stdout}{ended.stderr}")
        return time.monotonic() - begun

    def pods(self, image, nodes, what):
        """Starts a pod on each of the nodes at once; the seconds of each."""
        took, threads = {}, []
        for node in nodes:
            def start(node=node):
                took[node] = self.api.started(node, image, f"{what}-{node}")
            threads.append(threading.Thread(target=start))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(took) != len(nodes):
            sys.exit("a pod did not start")
        return [round(took[node], 2) for node in nodes]

    def measure(self, nodes):
        """One round: all three cases on these nodes at once."""
        count = len(nodes)
        pulled_by_pod, pulled_by_us = self.image(), self.image()
        before = self.bytes_over_link()
        without = self.pods(pulled_by_pod, nodes, f"without-{count}")
        without_bytes = self.bytes_over_link() - before
        before = self.bytes_over_link()
        ahead = self.pull_ahead(pulled_by_us, nodes)
        ahead_bytes = self.bytes_over_link() - before
        # By turns, so that what else the machine does is the same for both.
        before = self.bytes_over_link()
        local, after = [], []
        for number in range(self.args.rounds):
            after.append(self.pods(pulled_by_us, nodes, f"after-{count}-{number}"))
            local.append(self.pods(pulled_by_pod, nodes, f"local-{count}-{number}"))
        after_bytes = self.bytes_over_link() - before
        def flat(rounds):
            return [seconds for round in rounds for seconds in round]
        return {
            "nodes at once": count,
            "without us, pod created to Running, s": without,
            "without us, bytes over the link": without_bytes,
            "image local, pod created to Running, s": flat(local),
            "run of the controller, s": round(ahead, 1),
            "run of the controller, bytes over the link": ahead_bytes,
            "after it, pod created to Running, s": flat(after),
            "after it, the first pod of each node, s": after[0],
            "after it and local, bytes over the link": after_bytes,
            "after it to local, medians": round(statistics.median(flat(after)) / statistics.median(flat(local)), 2),
        }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bed")
    parser.add_argument("programs")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rate", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out")
    args = parser.parse_args()

    # What was started is ended, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="quayctl-bench-")
    try:
        site = Site(args, folder)
        measured = {"megabytes": args.megabytes, "bits a second of the link": args.rate, "pods of each kind and node": args.rounds,
                    "rounds": [site.measure(site.nodes[:count]) for count in sorted({1, args.nodes})]}
    finally:
        down = [f"{args.bed}/bed", "down", "--dir", os.path.join(folder, "bed")]
        any(subprocess.run(down, check=False, stdout=subprocess.DEVNULL).returncode == 0 for _ in range(5))
        shutil.rmtree(folder, ignore_errors=True)
    for round in measured["rounds"]:
        width = max(map(len, round))
        for name, value in round.items():
            if isinstance(value, list):
                value = f"{statistics.median(value):.2f} ({min(value):.2f}–{max(value):.2f}, {len(value)} pods)"
            print(f"{name:<{width}}  {value}")
        print()
    if args.out:
        with open(args.out, "w") as file:
            json.dump(measured, file, indent=2)
            file.write("\n")


main()
