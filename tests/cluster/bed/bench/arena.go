package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"quayctl.test/cluster/bed/audit"
	"quayctl.test/cluster/bed/cluster"
)

// arena is one cluster with everything the contestants need.
type arena struct {
	options    Options
	images     int
	dir        string
	kubectl    string
	kubeconfig string // with the forwarder's address
	nodesFile  string
	client     kubernetes.Interface // past the forwarder
	through    *forwarder
	supervisor *exec.Cmd
	alive      io.Closer
}

// open starts the cluster as a process of its own, so that its kubelets do not
// share a Go scheduler with what measures.
func open(ctx context.Context, options Options, s *Setting) (*arena, error) {
	a := &arena{options: options, images: s.Images, dir: options.Dir}
	began := time.Now()
	if err := a.start(ctx, s); err != nil {
		a.close()
		return nil, err
	}
	s.ReadySeconds = time.Since(began).Seconds()
	if err := a.connect(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *arena) clusterDir() string { return filepath.Join(a.dir, "cluster") }

func (a *arena) start(ctx context.Context, s *Setting) error {
	args := []string{"run", "--until-stdin-closes", "--dir", a.clusterDir(),
		"--nodes", fmt.Sprint(s.Nodes), "--mode", s.Mode, fmt.Sprintf("--realistic=%t", s.Realistic)}
	a.supervisor = exec.CommandContext(ctx, filepath.Join(a.options.Binaries, "bed"), args...)
	a.supervisor.Cancel = func() error { return a.alive.Close() }
	a.supervisor.Stderr = os.Stderr
	input, err := a.supervisor.StdinPipe()
	if err != nil {
		return err
	}
	a.alive = input
	output, err := a.supervisor.StdoutPipe()
	if err != nil {
		return err
	}
	if err := a.supervisor.Start(); err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	if _, err := bufio.NewReader(output).ReadBytes('\n'); err != nil {
		return fmt.Errorf("the cluster did not get ready: %w", err)
	}
	return nil
}

func (a *arena) connect() error {
	original := filepath.Join(a.clusterDir(), "kubeconfig")
	config, err := clientcmd.LoadFromFile(original)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	direct, err := clientcmd.BuildConfigFromFlags("", original)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	direct.UserAgent, direct.QPS = "bed/bench", -1
	if a.client, err = kubernetes.NewForConfig(direct); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	for _, server := range config.Clusters {
		address, err := url.Parse(server.Server)
		if err != nil {
			return fmt.Errorf("reading the server's address: %w", err)
		}
		if a.through, err = newForwarder(address.Host); err != nil {
			return err
		}
		server.Server = "https://" + a.through.address()
	}
	a.kubeconfig = filepath.Join(a.dir, "kubeconfig")
	if err := clientcmd.WriteToFile(*config, a.kubeconfig); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	a.kubectl = filepath.Join(a.clusterDir(), "bin", "kubectl")
	return a.warmUp()
}

// warmUp keeps the nodes for rendering and gives kubectl what it would have
// after a first use: the API's description in its cache.
func (a *arena) warmUp() error {
	if a.options.Only == Ours {
		return nil
	}
	a.nodesFile = filepath.Join(a.dir, "nodes.json")
	nodes, err := os.Create(a.nodesFile)
	if err != nil {
		return err
	}
	defer nodes.Close()
	get := exec.Command(a.kubectl, "--kubeconfig", a.kubeconfig, "get", "nodes", "-o", "json")
	get.Env = []string{"HOME=" + a.dir}
	get.Stdout, get.Stderr = nodes, os.Stderr
	if err := get.Run(); err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	return nil
}

func (a *arena) close() {
	if a.through != nil {
		a.through.close()
	}
	if a.alive != nil {
		a.alive.Close()
		_ = a.supervisor.Wait()
	}
	for _, file := range []string{a.nodesFile, a.kubeconfig} {
		_ = os.Remove(file)
	}
}

// compete lets one contestant do its work in a namespace of its own.
func (a *arena) compete(ctx context.Context, c contestant, namespace string) (Run, error) {
	if err := a.makeNamespace(ctx, namespace); err != nil {
		return Run{}, err
	}
	if err := a.prepare(c, namespace); err != nil {
		return Run{}, err
	}
	load := loadOf()
	limited, cancel := context.WithTimeout(ctx, a.options.Timeout)
	defer cancel()
	m := a.through.meter()
	used, err := c.run(limited, a, namespace, m)
	if err != nil {
		return Run{}, err
	}
	ended := time.Now()
	m.drained(5 * time.Second)
	time.Sleep(settle)
	counts, err := a.count(c, used.began, ended)
	if err != nil {
		return Run{}, err
	}
	complete, err := a.complete(ctx, namespace)
	if err != nil {
		return Run{}, err
	}
	return Run{
		Contestant:    c.name,
		Namespace:     namespace,
		Began:         used.began.UTC(),
		LoadBefore:    load,
		WallSeconds:   used.wall.Seconds(),
		CPUSeconds:    used.cpu.Seconds(),
		PeakBytes:     used.peak,
		Growth:        used.growth,
		SentBytes:     m.sent.Load(),
		ReceivedBytes: m.received.Load(),
		FirstSeconds:  m.firstAfter(used.began).Seconds(),
		Requests:      counts.Requests,
		Posts: counts.Of(func(r audit.Row) bool {
			return r.Verb == "create" && r.Resource == "jobs"
		}),
		RequestRows: counts.Rows,
		Complete:    complete,
		ExitCode:    used.code,
		TimedOut:    limited.Err() != nil,
	}, nil
}

// makeNamespace waits for the account without which no pod is admitted.
func (a *arena) makeNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := a.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the namespace: %w", err)
	}
	var err error
	for range 100 {
		if _, err = a.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{}); err == nil {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return fmt.Errorf("the namespace's service account is missing: %w", err)
}

func (a *arena) count(c contestant, since, until time.Time) (audit.Counts, error) {
	log, err := cluster.OpenAuditLog(a.clusterDir())
	if err != nil {
		return audit.Counts{}, err
	}
	defer log.Close()
	return audit.Count(log, audit.Filter{UserAgent: c.agent, Since: since, Until: until})
}

// complete counts the Jobs that are, in pages as there may be thousands.
func (a *arena) complete(ctx context.Context, namespace string) (int, error) {
	count := 0
	options := metav1.ListOptions{Limit: 500}
	for {
		page, err := a.client.BatchV1().Jobs(namespace).List(ctx, options)
		if err != nil {
			return 0, fmt.Errorf("listing the Jobs: %w", err)
		}
		for i := range page.Items {
			if isComplete(&page.Items[i]) {
				count++
			}
		}
		if page.Continue == "" {
			return count, nil
		}
		options.Continue = page.Continue
	}
}

func isComplete(job *batchv1.Job) bool {
	for _, condition := range job.Status.Conditions {
		if condition.Type == batchv1.JobComplete && condition.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// versionOf asks a program what it is.
func versionOf(program string, args ...string) string {
	output, err := exec.Command(program, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(output))
}

func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the result: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
