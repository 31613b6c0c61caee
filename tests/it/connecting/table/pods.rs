//! Service accounts of pods.

use crate::connecting::row::Ours::Sends;
use crate::connecting::row::{Row, row};
use crate::connecting::world::pem;

pub fn pods() -> Vec<Row> {
    let ca = pem("ca.pem");
    let whole: Vec<(&'static str, &str)> = vec![("token", "p0d"), ("ca.crt", &ca), ("namespace", "ns")];
    let pod = |name: &str, files: &[(&'static str, &str)]| {
        row(format!("pod: {name}"))
            .env("KUBECONFIG", "{dir}/nowhere")
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", "{port}")
            .pod(files)
    };
    let host = |name: &str, host: &str, port: &str| {
        let mut row = pod(name, &whole);
        row.environment.truncate(1);
        row.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port)
    };
    vec![
        pod("a service account", &whole),
        pod(
            "a token that ends in a line break",
            &[("token", "p0d\n"), ("ca.crt", &ca), ("namespace", "ns\n")],
        ),
        pod("no namespace", &[("token", "p0d"), ("ca.crt", &ca)]),
        pod("no authority", &[("token", "p0d")]).says("unknown authority"),
        pod("an authority that is none", &[("token", "p0d"), ("ca.crt", "hello")]).says("unknown authority"),
        pod("no token", &[("ca.crt", &ca), ("namespace", "ns")]).says("automountServiceAccountToken"),
        pod("no service account", &[]).says("automountServiceAccountToken"),
        pod("an empty token", &[("token", ""), ("ca.crt", &ca)]).says("it is empty"),
        host("IPv6", "::1", "{port}"),
        host("a name", "localhost", "{port}"),
        host("an empty host", "", "{port}").says("there is no kubeconfig DIR/nowhere"),
        host("an empty port", "127.0.0.1", "").says("there is no kubeconfig DIR/nowhere"),
        host("a port that is none", "127.0.0.1", "tcp://127.0.0.1:1").says("KUBERNETES_SERVICE_PORT"),
        pod("a proxy of the environment", &whole).env("HTTPS_PROXY", "http://127.0.0.1:{proxy}"),
        host("a proxy for another address", "0.0.0.0", "{port}")
            .env("HTTPS_PROXY", "http://127.0.0.1:{proxy}"),
        host("a proxy, but not for Services", "0.0.0.0", "{port}")
            .env("HTTPS_PROXY", "http://127.0.0.1:{proxy}")
            .env("NO_PROXY", "0.0.0.0/8,.svc"),
        pod("a kubeconfig by flag", &whole).args(&["--kubeconfig", "{dir}/kubeconfig"]),
        pod("a context by flag", &whole).args(&["--kubeconfig", "{dir}/kubeconfig", "--context", "c"]),
        pod("a kubeconfig that lies about", &whole)
            .env("KUBECONFIG", "{dir}/kubeconfig")
            .differs("in a pod it is the pod's own cluster, unless a flag says otherwise", Sends),
        pod("an empty kubeconfig by flag", &whole).args(&["--kubeconfig", ""]),
    ]
}
