package cluster

import (
	"fmt"

	"quayctl.test/cluster/bed/kubelet"
)

// component is one program of the cluster and how it is called.
type component struct {
	name string
	port int
	args []string
}

// components lists the command lines. The first two make the API; the others
// need it to be ready.
func components(at layout, p ports, mode string) (base, rest []component) {
	etcd, peer := "http://"+local(p.etcd), "http://"+local(p.etcdPeer)
	limits := modes[mode]
	base = []component{
		{"etcd", p.etcd, []string{
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
		{"kube-apiserver", p.apiserver, []string{
			"--etcd-servers=" + etcd,
			"--bind-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", p.apiserver),
			"--advertise-address=127.0.0.1",
			// A loopback address is refused as an endpoint of the service.
			"--endpoint-reconciler-type=none",
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
		}},
	}
	rest = []component{
		{"kube-controller-manager", p.manager, []string{
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
			// A busy machine may be late with renewing leases (default 50s).
			"--node-monitor-grace-period=" + kubelet.LeaseGrace.String(),
			"--authorization-always-allow-paths=/healthz,/livez,/readyz,/metrics",
		}},
		{"kube-scheduler", p.scheduler, []string{
			"--config=" + at.state("scheduler.yaml"),
			"--bind-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", p.scheduler),
			"--cert-dir=" + at.state("kube-scheduler"),
			"--authorization-always-allow-paths=/healthz,/livez,/readyz,/metrics",
		}},
	}
	return base, rest
}
