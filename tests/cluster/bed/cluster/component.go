package cluster

import (
	"fmt"
	"io"
	"net/netip"
	"time"
)

// address is where the API server is reached.
type address struct{ netip.Addr }

func (a address) host() string { return a.String() }

// flags are those that depend on it.
func (a address) flags() []string {
	if a.IsLoopback() {
		// It is refused as an endpoint of the service.
		return []string{"--endpoint-reconciler-type=none"}
	}
	// Where there are kubelets to ask for logs, their names are in no DNS.
	return []string{"--kubelet-preferred-address-types=InternalIP"}
}

func (a address) server(port int) string {
	return "https://" + netip.AddrPortFrom(a.Addr, uint16(port)).String()
}

// component is one program of the cluster and how it is called.
type component struct {
	name string
	port int
	args []string
	// node is the real node that it belongs to, if any.
	node string
	// program is its path; empty stands for the one of its name beside this one.
	program string
	// path is its PATH; empty stands for the system's.
	path string
	// namespaces are flags of clone(2): those that it is the first in.
	namespaces uintptr
	// ready, unless nil, reads its output instead of its log.
	ready func(io.Reader)
	// on starts it; nil stands for this process's own namespaces.
	on *launcher
}

// components lists the command lines. The first two make the API; the others
// need it to be ready.
func components(at layout, p ports, where address, mode string, grace time.Duration) (base, rest []component) {
	etcd, peer := "http://"+local(p.etcd), "http://"+local(p.etcdPeer)
	limits := modes[mode]
	base = []component{
		{name: "etcd", port: p.etcd, args: []string{
			"--name=bed",
			"--data-dir=" + at.state("etcd"),
			"--listen-client-urls=" + etcd,
			"--advertise-client-urls=" + etcd,
			"--listen-peer-urls=" + peer,
			"--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=bed=" + peer,
			// The data is thrown away with the cluster.
			"--unsafe-no-fsync",
		}},
		{name: "kube-apiserver", port: p.apiserver, args: append([]string{
			"--etcd-servers=" + etcd,
			"--bind-address=" + where.host(),
			fmt.Sprintf("--secure-port=%d", p.apiserver),
			"--advertise-address=" + where.host(),
			"--cert-dir=" + at.state("kube-apiserver"),
			"--tls-cert-file=" + at.state("server.crt"),
			"--tls-private-key-file=" + at.state("server.key"),
			"--client-ca-file=" + at.state("ca.crt"),
			"--token-auth-file=" + at.state("tokens.csv"),
			"--authorization-mode=Node,RBAC",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + at.state("sa.key"),
			"--service-account-signing-key-file=" + at.state("sa.key"),
			"--service-cluster-ip-range=" + serviceRange,
			"--allow-privileged=true",
			"--audit-policy-file=" + at.state("audit-policy.yaml"),
			"--audit-log-path=" + at.auditLog(),
			// One file, however large: by default a new one begins after 100 MB.
			"--audit-log-maxsize=0",
		}, where.flags()...)},
	}
	rest = []component{
		{name: "kube-controller-manager", port: p.manager, args: []string{
			"--kubeconfig=" + at.state("manager.kubeconfig"),
			"--bind-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", p.manager),
			"--cert-dir=" + at.state("kube-controller-manager"),
			"--leader-elect=false",
			// Its own role is narrow: each controller acts as its service account.
			"--use-service-account-credentials=true",
			"--service-account-private-key-file=" + at.state("sa.key"),
			"--root-ca-file=" + at.state("ca.crt"),
			fmt.Sprintf("--kube-api-qps=%d", limits.controllers),
			fmt.Sprintf("--kube-api-burst=%d", limits.controllersBurst),
			// Leases are renewed by as much more slowly (default 50s).
			"--node-monitor-grace-period=" + grace.String(),
			"--authorization-always-allow-paths=/healthz,/livez,/readyz,/metrics",
		}},
		{name: "kube-scheduler", port: p.scheduler, args: []string{
			"--config=" + at.state("scheduler.yaml"),
			"--bind-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", p.scheduler),
			"--cert-dir=" + at.state("kube-scheduler"),
			"--authorization-always-allow-paths=/healthz,/livez,/readyz,/metrics",
		}},
	}
	return base, rest
}
