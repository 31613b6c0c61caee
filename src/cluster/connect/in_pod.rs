//! The service account of the pod that we run in, as `rest.InClusterConfig` finds it.
#![expect(clippy::disallowed_methods, reason = "the kubelet says in files and variables where the server is")]

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::access::{Access, Impersonation, Login, Pem, TlsSettings, Trust};
use super::server::Server;

const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The error goes on from "the pod's service account: ".
pub fn access() -> Result<Access, String> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    of(Path::new(FOLDER), &variable("KUBERNETES_SERVICE_HOST"), &variable("KUBERNETES_SERVICE_PORT"))
}

fn of(folder: &Path, host: &str, port: &str) -> Result<Access, String> {
    let file = folder.join("token");
    // Else the token would be missed first, whose folder a pod has with everything in it or not at all.
    if !file.exists() {
        let hint =
            "run the pod with `automountServiceAccountToken: true`, or name a kubeconfig with --kubeconfig";
        return Err(format!("there is no {}; {hint}", file.display()));
    }
    let authority = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    };
    let server = Server::parse(&format!("https://{authority}"));
    let server = server.map_err(|error| {
        format!("KUBERNETES_SERVICE_HOST {host:?} with KUBERNETES_SERVICE_PORT {port:?} {error}")
    })?;
    let bundle = folder.join("ca.crt");
    let trust = match super::tls::roots::check(&bundle) {
        Ok(()) => Trust::Authorities(Pem::File(bundle)),
        Err(error) => {
            tracing::warn!(
                "no certificate authority in {}: {error}; the system's are used",
                bundle.display()
            );
            Trust::System
        }
    };
    Ok(Access {
        server,
        namespace: namespace_in(folder)?,
        tls: TlsSettings { trust, ..TlsSettings::default() },
        login: Login::TokenFile { file, otherwise: None },
        impersonation: Impersonation::default(),
        proxy: None,
        disable_compression: false,
    })
}

/// The pod's own namespace.
pub fn namespace() -> Result<String, String> {
    namespace_in(Path::new(FOLDER))
}

fn namespace_in(folder: &Path) -> Result<String, String> {
    let file: PathBuf = folder.join("namespace");
    // As client-go: a pod may be made without it.
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    match text.trim() {
        "" => Ok("default".to_owned()),
        namespace if super::is_namespace(namespace) => Ok(namespace.to_owned()),
        _ => Err(format!("{} holds no name that a namespace can have", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_may_lack_all_but_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let of = |host: &str, port: &str| of(folder.path(), host, port);
        assert!(of("10.0.0.1", "443").unwrap_err().contains("automountServiceAccountToken"));
        std::fs::write(folder.path().join("token"), "t\n").unwrap();
        let access = of("10.0.0.1", "443").unwrap();
        assert_eq!(
            (access.server.shown(), access.namespace),
            ("https://10.0.0.1:443".to_owned(), "default".to_owned())
        );
        assert!(matches!(access.tls.trust, Trust::System));
        std::fs::write(folder.path().join("namespace"), " pulls\n").unwrap();
        assert_eq!(of("fd00::1", "443").unwrap().server.shown(), "https://[fd00::1]:443");
        assert_eq!(of("kubernetes.default.svc", "6443").unwrap().namespace, "pulls");
        assert!(of("10.0.0.1", "tcp://10.0.0.1:443").unwrap_err().contains("KUBERNETES_SERVICE_PORT"));
        std::fs::write(folder.path().join("namespace"), "a/../b").unwrap();
        assert!(of("10.0.0.1", "443").unwrap_err().contains("namespace"));
    }
}
