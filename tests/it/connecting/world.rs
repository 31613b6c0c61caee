//! The other end of a row: an API server and a proxy on loopback that write down what reaches them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// What the API server answers to the nth request for its version; the last one is repeated.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: &'static str,
    pub body: &'static str,
}

pub const VERSION: Answer = Answer {
    code: 200,
    headers: "",
    body: r#"{"major":"1","minor":"37","gitVersion":"v1.37.2","gitCommit":"c","gitTreeState":"clean","buildDate":"2026-01-01T00:00:00Z","goVersion":"go1","compiler":"gc","platform":"linux/amd64"}"#,
};

/// What else is asked: for nodes, of which there are none.
const NOBODY: Answer = Answer {
    code: 200,
    headers: "",
    body: r#"{"kind":"NodeList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#,
};

/// How the two are; both answer plain HTTP as well, whatever they are.
#[derive(Clone, Debug)]
pub struct Manner {
    /// A certificate of `pki/`.
    pub certificate: &'static str,
    /// The newest TLS is 1.2.
    pub is_old: bool,
    pub answers: Vec<Answer>,
    /// What the proxy answers to CONNECT.
    pub proxy_answers: u16,
    /// What the SOCKS proxy wants of a user.
    pub socks_wants_login: bool,
}

/// What reached one of the two, without what the two clients may differ in.
pub type Record = BTreeMap<&'static str, String>;

/// A server and a proxy that stand until they are dropped.
pub struct World {
    pub server: u16,
    pub proxy: u16,
    shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

struct Shared {
    manner: Manner,
    server: u16,
    records: Mutex<Vec<Record>>,
    tls: Arc<ServerConfig>,
}

pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

impl World {
    pub fn start(manner: Manner) -> World {
        runtime().block_on(async {
            let (server, proxy) = (listener().await, listener().await);
            let (server_port, proxy_port) = (port(&server), port(&proxy));
            let tls = tls(&manner);
            let shared = Arc::new(Shared { manner, server: server_port, records: Mutex::default(), tls });
            let tasks = vec![
                tokio::spawn(accept(server, shared.clone(), "server")),
                tokio::spawn(accept(proxy, shared.clone(), "proxy")),
            ];
            World { server: server_port, proxy: proxy_port, shared, tasks }
        })
    }

    /// Everything that arrived, in order.
    pub fn records(&self) -> Vec<Record> {
        self.shared.records.lock().unwrap().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// On every address, so that one that is not loopback reaches it too.
async fn listener() -> TcpListener {
    match TcpListener::bind("[::]:0").await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind("0.0.0.0:0").await.unwrap(),
    }
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

pub fn pki() -> std::path::PathBuf {
    crate::support::root().join("tests/it/connecting/pki")
}

fn tls(manner: &Manner) -> Arc<ServerConfig> {
    let file = |name: String| pki().join(name);
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(file(format!("{}.pem", manner.certificate)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
    let key = PrivateKeyDer::from_pem_file(file(format!("{}.key.pem", manner.certificate))).unwrap();
    let key = default_provider().key_provider.load_private_key(key).unwrap();
    let versions: &[_] = if manner.is_old { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(Arc::new(Everybody))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))));
    Arc::new(config)
}

/// Asks for a certificate and takes whatever comes.
#[derive(Debug)]
struct Everybody;

impl ClientCertVerifier for Everybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme::{
            ECDSA_NISTP256_SHA256, ECDSA_NISTP384_SHA384, ECDSA_NISTP521_SHA512, ED25519, RSA_PKCS1_SHA256,
            RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
        };
        vec![
            ECDSA_NISTP256_SHA256,
            ECDSA_NISTP384_SHA384,
            ECDSA_NISTP521_SHA512,
            ED25519,
            RSA_PSS_SHA256,
            RSA_PSS_SHA384,
            RSA_PSS_SHA512,
            RSA_PKCS1_SHA256,
        ]
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, role: &'static str) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            // A client that goes away has said what it had to say.
            let _ = greet(stream, &shared, role).await;
        });
    }
}

/// TLS, SOCKS or HTTP, by the first byte.
async fn greet(stream: TcpStream, shared: &Shared, role: &'static str) -> std::io::Result<()> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    let mut about = Record::from([("at", role.to_owned())]);
    match (first[0], role) {
        (0x16, _) => {
            let stream = TlsAcceptor::from(shared.tls.clone()).accept(stream).await?;
            let (_, session) = stream.get_ref();
            about.insert("tls", format!("name {}", session.server_name().unwrap_or("none")));
            if let Some([certificate, ..]) = session.peer_certificates() {
                about.insert("certificate", name_of(certificate));
            }
            requests(stream, shared, about).await
        }
        (0x05, "proxy") => socks(stream, shared, about).await,
        _ => requests(stream, shared, about).await,
    }
}

/// Which of `pki/` it is.
fn name_of(certificate: &CertificateDer<'_>) -> String {
    static NAMES: OnceLock<Vec<(String, CertificateDer<'static>)>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(pki()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if name.starts_with("client") && !name.contains(".key") {
                names.extend(CertificateDer::from_pem_file(&path).ok().map(|der| (name, der)));
            }
        }
        names.sort_by(|(a, _), (b, _)| a.cmp(b));
        names
    });
    names.iter().find(|(_, der)| der == certificate).map_or("unknown".to_owned(), |(name, _)| name.clone())
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    shared: &Shared,
    about: Record,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let head = head(&mut stream).await?;
        let (method, target, headers) = parsed(&head);
        let mut record = about.clone();
        record.insert("method", method.clone());
        // kubectl adds a `timeout` of its own.
        let target = target.split('?').next().unwrap_or_default().to_owned();
        record.insert("target", without_port(&target, shared));
        for (name, value) in &headers {
            let (kept, value): (&'static str, String) = match name.as_str() {
                "authorization" => ("authorization", value.clone()),
                "proxy-authorization" => ("proxy-authorization", value.clone()),
                "host" => ("host", without_port(value, shared)),
                "accept-encoding" => ("gzip", value.contains("gzip").to_string()),
                name if name.starts_with("impersonate-") => {
                    let old = record.remove("impersonate").unwrap_or_default();
                    // Go sends those of the extra keys in the order of a map.
                    let mut all: Vec<&str> = old.split('\n').filter(|line| !line.is_empty()).collect();
                    let line = format!("{name}={value}");
                    all.push(&line);
                    all.sort_unstable();
                    ("impersonate", all.join("\n"))
                }
                "user-agent" => {
                    let own = ["kubectl/v", "quayctl-controller/"].iter().any(|own| value.starts_with(own));
                    ("agent", if own { "its own".to_owned() } else { value.clone() })
                }
                _ => continue,
            };
            record.insert(kept, value);
        }
        if method == "CONNECT" {
            // What a client calls itself there is nobody's concern.
            record.remove("agent");
            shared.records.lock().unwrap().push(record);
            let code = shared.manner.proxy_answers;
            stream.write_all(format!("HTTP/1.1 {code} said the proxy\r\n\r\n").as_bytes()).await?;
            if code != 200 {
                return Ok(());
            }
            return join(stream, shared).await;
        }
        // What else is asked for is not what is compared.
        let is_compared = target.ends_with("/version");
        let answer = match is_compared {
            true => {
                let mut records = shared.records.lock().unwrap();
                let asked = records.iter().filter(|record| record["target"].ends_with("/version")).count();
                records.push(record);
                let answers = &shared.manner.answers;
                answers.get(asked).or(answers.last()).cloned().unwrap_or(VERSION)
            }
            false => NOBODY,
        };
        let Answer { code, headers, body } = answer;
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await?;
    }
}

/// Whatever was asked for, it is the server that is reached.
async fn join<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, shared: &Shared) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", shared.server)).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

async fn socks(mut stream: TcpStream, shared: &Shared, mut about: Record) -> std::io::Result<()> {
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).await?;
    let mut methods = vec![0; greeting[1].into()];
    stream.read_exact(&mut methods).await?;
    about.insert("method", "SOCKS5".to_owned());
    let with_login = methods.contains(&2);
    if shared.manner.socks_wants_login && !with_login {
        stream.write_all(&[5, 0xFF]).await?;
        shared.records.lock().unwrap().push(about);
        return Ok(());
    }
    stream.write_all(&[5, if with_login { 2 } else { 0 }]).await?;
    if with_login {
        let mut text = Vec::new();
        let _version = stream.read_u8().await?;
        for _ in 0..2 {
            let mut part = vec![0; stream.read_u8().await?.into()];
            stream.read_exact(&mut part).await?;
            text.push(String::from_utf8_lossy(&part).into_owned());
        }
        about.insert("proxy-authorization", text.join(":"));
        stream.write_all(&[1, 0]).await?;
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => {
            let mut ip = [0; 4];
            stream.read_exact(&mut ip).await?;
            std::net::Ipv4Addr::from(ip).to_string()
        }
        4 => {
            let mut ip = [0; 16];
            stream.read_exact(&mut ip).await?;
            format!("[{}]", std::net::Ipv6Addr::from(ip))
        }
        _ => {
            let mut name = vec![0; stream.read_u8().await?.into()];
            stream.read_exact(&mut name).await?;
            format!("the name {}", String::from_utf8_lossy(&name))
        }
    };
    let port = stream.read_u16().await?;
    about.insert("target", without_port(&format!("{host}:{port}"), shared));
    shared.records.lock().unwrap().push(about);
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    join(stream, shared).await
}

/// Ports differ from world to world.
fn without_port(text: &str, shared: &Shared) -> String {
    text.replace(&format!(":{}", shared.server), ":SERVER")
}

async fn head<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        if head.len() > 64 * 1024 {
            return Err(std::io::Error::other("a head without an end"));
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn parsed(head: &str) -> (String, String, Vec<(String, String)>) {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) =
        (first.next().unwrap_or_default().to_owned(), first.next().unwrap_or_default().to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(": ").or_else(|| line.strip_suffix(':').map(|name| (name, ""))))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    (method, target, headers)
}

/// The text of a file of `pki/`.
pub fn pem(name: &str) -> String {
    let path: &Path = &pki().join(name);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
