package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A contestant gets every image of a namespace's manifests onto every node.
type contestant struct {
	name  string
	agent string // how its user agent begins
	run   func(ctx context.Context, a *arena, namespace string, m *meter) (usage, error)
}

// The contestants by name, in the order of the table.
const (
	Ours    = "ours"
	Kubectl = "kubectl"
)

var contestants = []contestant{
	{Ours, "quayctl-controller/", runOurs},
	{Kubectl, "kubectl/", runKubectl},
}

// carrier is the image that carries the helper, without which `auto` could not
// choose it.
const carrier = "QUAYCTL_CARRIER_IMAGE=quayctl-controller:bench"

// runOurs is one pass of the controller.
func runOurs(ctx context.Context, a *arena, namespace string, m *meter) (usage, error) {
	command, done, err := a.command(namespace, a.options.Controller, "run", "--config", a.config(namespace),
		"--kubeconfig", a.kubeconfig, "-o", "json", "--report", a.file(namespace, "report.json"))
	if err != nil {
		return usage{}, err
	}
	defer done()
	return measure(ctx, command, m)
}

// runKubectl creates the very Jobs the controller would and waits for them.
func runKubectl(ctx context.Context, a *arena, namespace string, m *meter) (usage, error) {
	create, done, err := a.command(namespace, a.kubectl, "--kubeconfig", a.kubeconfig,
		"create", "-f", a.file(namespace, "jobs.yaml"))
	if err != nil {
		return usage{}, err
	}
	defer done()
	created, err := measure(ctx, create, m)
	if err != nil || created.code != 0 {
		return created, err
	}
	wait, done, err := a.command(namespace, a.kubectl, "--kubeconfig", a.kubeconfig,
		"wait", "--for=condition=complete", "job", "--all", "-n", namespace, "--timeout="+a.options.Timeout.String())
	if err != nil {
		return usage{}, err
	}
	defer done()
	waited, err := measure(ctx, wait, m)
	return created.plus(waited), err
}

// command prepares a program with its output kept in the namespace's files.
func (a *arena) command(namespace, program string, args ...string) (*exec.Cmd, func(), error) {
	output, err := os.OpenFile(a.file(namespace, "output.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("keeping the output: %w", err)
	}
	command := exec.Command(program, args...)
	command.Stdout, command.Stderr = output, output
	command.Env = []string{"HOME=" + a.dir, "PATH=/usr/bin:/bin", carrier}
	return command, func() { output.Close() }, nil
}

// prepare writes what the contestants read: the config and, for kubectl, the
// manifests that the controller renders from it.
func (a *arena) prepare(c contestant, namespace string) error {
	if err := os.MkdirAll(a.file(namespace), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(a.config(namespace), []byte(configOf(namespace, a.images)), 0o600); err != nil {
		return err
	}
	if c.name != Kubectl {
		return nil
	}
	manifests, err := os.Create(a.file(namespace, "jobs.yaml"))
	if err != nil {
		return err
	}
	defer manifests.Close()
	render := exec.Command(a.options.Controller, "render", "--config", a.config(namespace), "--nodes", a.nodesFile)
	render.Env = []string{"HOME=" + a.dir, carrier}
	render.Stdout = manifests
	var said strings.Builder
	render.Stderr = &said
	if err := render.Run(); err != nil {
		return fmt.Errorf("rendering the manifests: %w: %s", err, said.String())
	}
	return nil
}

// configOf has a deadline no run here reaches, and as many Jobs at once as the
// protocol says. The images are new in each namespace: none is there already.
func configOf(namespace string, images int) string {
	var list strings.Builder
	for k := 1; k <= images; k++ {
		fmt.Fprintf(&list, "    \"registry.example.com/%s/app-%02d:1.0\",\n", namespace, k)
	}
	return fmt.Sprintf("namespace = %q\nconcurrency = %d\n\n[defaults]\ndeadline = \"2h\"\n\n[[groups]]\nname = \"bench\"\nimages = [\n%s]\n",
		namespace, concurrency, list.String())
}

// concurrency is how many nodes the controller works on at once.
const concurrency = 200

func (a *arena) config(namespace string) string { return a.file(namespace, "quayctl.toml") }

func (a *arena) file(namespace string, name ...string) string {
	return filepath.Join(append([]string{a.dir, namespace}, name...)...)
}

// settle is what the audit log is given to write the last lines.
const settle = 300 * time.Millisecond
