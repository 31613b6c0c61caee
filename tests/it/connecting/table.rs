//! The table: what kubectl is given, and we.

use super::row::Row;

mod certificates;
mod edits;
mod files;
mod logins;
mod plugins;
mod pods;
mod proxies;
mod servers;
mod trust;

pub fn rows() -> Vec<Row> {
    let rows = [
        servers::servers(),
        trust::trust(),
        certificates::certificates(),
        logins::logins(),
        logins::impersonation(),
        plugins::plugins(),
        proxies::proxies(),
        files::files(),
        files::contexts(),
        pods::pods(),
        edits::edits(),
    ];
    rows.into_iter().flatten().collect()
}

/// Where nobody is named, kubectl wants to be told.
pub const ASKS: &str = "kubectl asks for a name and a password; we ask nobody, and go on as nobody";
pub const CA: &str = "certificate-authority: '{pki}/ca.pem'";
pub const HTTPS: &str = "server: 'https://127.0.0.1:{port}', certificate-authority: '{pki}/ca.pem'";
