#!/usr/bin/env python3
"""Measures what needs no cluster: `check` of a file, of 10,000 groups, and `render` for 5,000 nodes.

Usage: bench_check.py CONTROLLER [--out FILE]

Seconds are the median of several processes, from their start; memory is the largest of them. Nothing
here is a gate.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time


def measure(command, rounds):
    """Median seconds and largest peak memory in MiB of `command`, which must succeed."""
    seconds, memory = [], 0.0
    for _ in range(rounds):
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - begun)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{command} ended with {process.returncode}")
        memory = max(memory, usage.ru_maxrss / 1024)
    return statistics.median(seconds), memory


def node(number):
    images = [{"names": [f"registry.example.com/team/image-{n}:1.0"], "sizeBytes": 10**8} for n in range(50)]
    return {
        "kind": "Node",
        "metadata": {"name": f"node-{number:04}", "uid": f"uid-{number}",
                     "labels": {f"example.com/label-{n}": f"value-{n}" for n in range(30)}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "images": images,
                   "nodeInfo": {"operatingSystem": "linux", "architecture": "amd64", "kubeletVersion": "v1.37.2",
                                "containerRuntimeVersion": "containerd://2.4.2"}},
    }


def groups(count, images, values=""):
    for group in range(count):
        listed = ", ".join(f'"r.example.com/a-{group}-{n}:1"' for n in range(images))
        yield f'[[groups]]\nname = "g{group}"\nimages = [{listed}]\n{values.format(group=group)}\n'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("controller")
    parser.add_argument("--out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quayctl-bench-") as folder:
        def file(name, parts):
            # Piece by piece: a child's peak memory is never less than what this process has.
            path = os.path.join(folder, name)
            with open(path, "w") as out:
                out.writelines(parts)
            return path

        listed = (json.dumps(node(n)) + ("," if n < 4999 else "]}") for n in range(5000))
        nodes = file("nodes.json", itertools.chain(['{"kind": "List", "items": ['], listed))
        five = file("five.toml", groups(1, 5))
        many = file("many.toml", groups(10_000, 1))
        own = file("own.toml", groups(10_000, 1, 'values = {{ cpu = "{group}m" }}'))
        rows = [
            ("check of config/quayctl.toml", ["check", "--config", "config/quayctl.toml"], 21, "≤ 20 ms"),
            ("render, 5,000 nodes, 5 images", ["render", "--config", five, "--nodes", nodes], 3, "≤ 3 s, 64 MiB"),
            ("check of 10,000 groups", ["check", "--config", many], 3, "≤ 1 s"),
            ("the same, each with values", ["check", "--config", own], 3, ""),
        ]
        measured = {}
        print(f"{'':<30}  {'seconds':>8}  {'MiB':>6}  goal")
        for name, command, rounds, goal in rows:
            seconds, memory = measure([args.controller, *command], rounds)
            measured[name] = {"seconds": round(seconds, 4), "mib": round(memory, 1)}
            print(f"{name:<30}  {seconds:8.3f}  {memory:6.1f}  {goal}")
    if args.out:
        with open(args.out, "w") as file_out:
            json.dump(measured, file_out, indent=2)


main()
