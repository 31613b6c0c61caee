//! Reads a kubeconfig as kubectl does, and refuses by name what kube would panic on.
//!
//! kube's own reader waits for ever on a pipe, panics on UTF-16 of an odd length, on a server without a
//! scheme and on one that is too long, and puts the lines around a mistake into its error, which may be
//! somebody's token. May read files and the environment, as kubectl finds its kubeconfig there.
#![expect(clippy::disallowed_methods, reason = "KUBECONFIG and HOME say where the kubeconfig is")]

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kube::config::{Kubeconfig, NamedAuthInfo, NamedCluster};

use crate::config::input;

/// A kubeconfig of a thousand clusters with their certificates is some 10 MB.
const BYTES_MAX: u64 = 64 << 20;
/// Longer than any address; behind it, with the path of a request, `http::Uri` has a limit of 64 KiB.
const SERVER_BYTES_MAX: usize = 4096;

/// The kubeconfig at `path`; without one, those that `KUBECONFIG` lists, else `~/.kube/config`.
pub fn read(path: Option<&Path>) -> Result<Kubeconfig, String> {
    if let Some(path) = path {
        return read_file(path).map_err(|error| error.to_string());
    }
    let listed: Vec<PathBuf> = std::env::var_os("KUBECONFIG")
        .map(|list| std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    if listed.is_empty() {
        let home = std::env::home_dir().ok_or("there is no home directory, and KUBECONFIG is not set")?;
        return read_file(&home.join(".kube/config")).map_err(|error| error.to_string());
    }
    let mut merged: Option<Kubeconfig> = None;
    let mut missing = None;
    for path in &listed {
        let next = match read_file(path) {
            Ok(next) => next,
            // As kubectl does: the list names where one may be.
            Err(error) if error.is_missing() => {
                missing = missing.or(Some(error));
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        merged = Some(match merged {
            Some(first) => first.merge(next).map_err(|error| error.to_string())?,
            None => next,
        });
    }
    match (merged, missing) {
        (Some(merged), _) => Ok(merged),
        (None, Some(error)) => Err(error.to_string()),
        (None, None) => Ok(Kubeconfig::default()),
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot read the kubeconfig {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the kubeconfig {} is no text: {what}", path.display())]
    NoText { path: PathBuf, what: &'static str },
    #[error("the kubeconfig {} is wrong: {what}", path.display())]
    Wrong { path: PathBuf, what: String },
}

impl ReadError {
    fn is_missing(&self) -> bool {
        matches!(self, ReadError::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn read_file(path: &Path) -> Result<Kubeconfig, ReadError> {
    let mut bytes = Vec::new();
    let read = input::open(path).and_then(|input| input.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|source| ReadError::Unreadable { path: path.to_owned(), source })?;
    if bytes.len() as u64 > BYTES_MAX {
        let what = format!("it is larger than {} MiB", BYTES_MAX >> 20);
        return Err(ReadError::Wrong { path: path.to_owned(), what });
    }
    let text = text_of(bytes).map_err(|what| ReadError::NoText { path: path.to_owned(), what })?;
    let wrong = |what| ReadError::Wrong { path: path.to_owned(), what };
    let documents: Vec<Kubeconfig> =
        serde_saphyr::from_multiple(&text).map_err(|error| wrong(without_values(&error)))?;
    let mut merged: Option<Kubeconfig> = None;
    for mut document in documents {
        make_absolute(&mut document, path.parent().unwrap_or(Path::new("")));
        merged = Some(match merged {
            Some(first) => first.merge(document).map_err(|error| wrong(error.to_string()))?,
            None => document,
        });
    }
    Ok(merged.unwrap_or_default())
}

/// UTF-8, or what a byte order mark says.
fn text_of(bytes: Vec<u8>) -> Result<String, &'static str> {
    let utf16 = |bytes: &[u8], of: fn([u8; 2]) -> u16| match bytes.len() % 2 {
        0 => {
            let units = bytes.chunks_exact(2).map(|pair| of([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<String, _>>().map_err(|_| "it contains invalid UTF-16")
        }
        _ => Err("it is UTF-16, and ends within a character"),
    };
    match bytes.as_slice() {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => {
            String::from_utf8(rest.to_vec()).map_err(|_| "it contains invalid UTF-8")
        }
        _ => String::from_utf8(bytes).map_err(|_| "it contains invalid UTF-8"),
    }
}

/// Where the mistake is and of which kind, without the lines around it and without what stands there: a
/// value in the wrong place may be a token.
fn without_values(error: &serde_saphyr::Error) -> String {
    let place = error.location().map(|place| format!("line {}, column {}: ", place.line(), place.column()));
    let words = error.without_snippet().to_string();
    let words = words.lines().next().unwrap_or_default();
    let mut shown = String::new();
    for (index, part) in words.split('"').enumerate() {
        match index % 2 {
            0 => shown.push_str(part),
            _ => shown.push_str("\"***\""),
        }
    }
    format!("{}{shown}", place.unwrap_or_default())
}

/// Paths in a kubeconfig are relative to it; a command only where it is a path at all.
fn make_absolute(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let absolute = |file: &mut Option<String>| {
        if let Some(name) = file.as_mut().filter(|name| !name.is_empty() && Path::new(name).is_relative())
            && let Some(path) = folder.join(name.as_str()).to_str()
        {
            *name = path.to_owned();
        }
    };
    for NamedCluster { cluster, .. } in &mut kubeconfig.clusters {
        cluster.iter_mut().for_each(|cluster| absolute(&mut cluster.certificate_authority));
    }
    for NamedAuthInfo { auth_info, .. } in &mut kubeconfig.auth_infos {
        let Some(user) = auth_info else { continue };
        absolute(&mut user.client_certificate);
        absolute(&mut user.client_key);
        absolute(&mut user.token_file);
        if let Some(exec) =
            user.exec.as_mut().filter(|exec| exec.command.as_ref().is_some_and(|c| c.contains('/')))
        {
            absolute(&mut exec.command);
        }
    }
}

/// Makes the context's cluster one that kube can work with, and says what it could not.
pub fn prepare(kubeconfig: &mut Kubeconfig, context: Option<&str>) -> Result<(), String> {
    let Some(name) = context.map(str::to_owned).or_else(|| kubeconfig.current_context.clone()) else {
        return Err("there is no current context".to_owned());
    };
    let found = kubeconfig.contexts.iter().find(|found| found.name == name);
    let Some(context) = found.and_then(|found| found.context.clone()) else {
        let known: Vec<&str> =
            kubeconfig.contexts.iter().map(|context| context.name.as_str()).take(20).collect();
        let known = if known.is_empty() {
            "there is none".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        return Err(format!("there is no context {name:?}; {known}"));
    };
    let user = kubeconfig.auth_infos.iter_mut().find(|user| Some(&user.name) == context.user.as_ref());
    let mut files = Vec::new();
    let mut has_tls = false;
    if let Some(user) = user.and_then(|user| user.auth_info.as_mut()) {
        has_tls |= user.client_certificate.is_some() || user.client_certificate_data.is_some();
        unset_if_empty(&mut user.client_certificate);
        unset_if_empty(&mut user.client_certificate_data);
        unset_if_empty(&mut user.client_key);
        files.extend([user.client_certificate.clone(), user.client_key.clone(), user.token_file.clone()]);
    }
    let cluster = kubeconfig.clusters.iter_mut().find(|cluster| cluster.name == context.cluster);
    let Some(cluster) = cluster.and_then(|cluster| cluster.cluster.as_mut()) else {
        return Err(format!("context {name:?} names a cluster {:?} that is not there", context.cluster));
    };
    for key in [
        &mut cluster.certificate_authority,
        &mut cluster.certificate_authority_data,
        &mut cluster.proxy_url,
        &mut cluster.tls_server_name,
    ] {
        unset_if_empty(key);
    }
    has_tls |= cluster.certificate_authority.is_some()
        || cluster.certificate_authority_data.is_some()
        || cluster.insecure_skip_tls_verify == Some(true);
    files.push(cluster.certificate_authority.clone());
    if let Some(proxy) = &cluster.proxy_url {
        check_proxy(proxy)?;
    }
    for file in files.into_iter().flatten() {
        check_file(Path::new(&file))?;
    }
    cluster.server = Some(server(cluster.server.as_deref().unwrap_or_default(), has_tls)?);
    Ok(())
}

fn unset_if_empty(key: &mut Option<String>) {
    if key.as_deref().is_some_and(|text| text.trim().is_empty()) {
        *key = None;
    }
}

/// A file that kube reads to its end.
pub fn check_file(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(format!("{} is no regular file", path.display())),
        // kube says which of them is not there.
        _ => Ok(()),
    }
}

/// A server as a URL with a scheme and a host, as client-go completes it.
pub fn server(written: &str, has_tls: bool) -> Result<String, String> {
    let written = written.trim();
    if written.is_empty() {
        return Err("the cluster has no `server`".to_owned());
    }
    if written.len() > SERVER_BYTES_MAX {
        return Err(format!("the cluster's `server` is longer than {SERVER_BYTES_MAX} bytes"));
    }
    let url = match (written.contains("://"), has_tls) {
        (true, _) => written.to_owned(),
        (false, true) => format!("https://{written}"),
        (false, false) => format!("http://{written}"),
    };
    let wrong = |why: &str| {
        Err(format!(
            "the cluster's `server` {written:?} is no address: {why}; write it as `https://host:6443`"
        ))
    };
    match url.parse::<http::Uri>() {
        Err(error) => wrong(&error.to_string()),
        Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
            wrong("its scheme is neither http nor https")
        }
        Ok(uri) if uri.host().is_none_or(str::is_empty) => wrong("it has no host"),
        Ok(uri) if uri.query().is_some() => wrong("it has a query"),
        Ok(uri) if uri.authority().is_some_and(has_bad_port) => wrong("its port is no number up to 65535"),
        Ok(_) => Ok(url),
    }
}

fn has_bad_port(authority: &http::uri::Authority) -> bool {
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    host.len() > authority.host().len() && authority.port_u16().is_none()
}

fn check_proxy(proxy: &str) -> Result<(), String> {
    let uri = proxy
        .parse::<http::Uri>()
        .map_err(|error| format!("the cluster's `proxy-url` is no URL: {error}"))?;
    match uri.scheme_str() {
        Some("http" | "https" | "socks5") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(()),
        _ => {
            Err(format!("the cluster's `proxy-url` {proxy:?} is none of http, https and socks5 with a host"))
        }
    }
}

#[cfg(test)]
mod tests;
