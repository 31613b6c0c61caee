//! One row of the table, and what comes of it with either client.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::world::{Manner, Record, VERSION, World, pem, pki};
use crate::support::{self, quayctl};

/// What both are given. In all texts `{port}` is the server's, `{proxy}` the proxy's, `{dir}` a folder with
/// `files`, `{pki}` the certificates, and `{b64 FILE}` one of them as data.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    /// The keys of the only cluster and user, as YAML in braces, and what more the context says.
    pub cluster: String,
    pub user: String,
    pub context: String,
    /// The whole kubeconfig in their place.
    pub kubeconfig: Option<String>,
    /// Where it stands; `KUBECONFIG` names it where `environment` does not.
    pub path: &'static str,
    pub files: Vec<(String, String)>,
    pub environment: Vec<(String, String)>,
    pub arguments: Vec<String>,
    pub manner: Manner,
    /// There is a service account in its folder, of these files.
    pub pod: Option<Vec<(&'static str, String)>>,
    /// We do something else, on purpose: why, and what.
    pub differs: Option<(&'static str, Ours)>,
    /// What our message says where we are refused or refuse.
    pub says: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ours {
    /// Nothing that is compared arrives from us.
    Refuses,
    /// Something does, which kubectl did not send.
    Sends,
}

/// What one client did.
#[derive(Debug)]
pub struct Did {
    pub records: Vec<Record>,
    pub code: Option<i32>,
    pub stderr: String,
}

pub fn row(name: impl Into<String>) -> Row {
    Row {
        name: name.into(),
        cluster: "server: 'https://127.0.0.1:{port}', certificate-authority: '{pki}/ca.pem'".to_owned(),
        user: "token: t0ken".to_owned(),
        context: String::new(),
        kubeconfig: None,
        path: "kubeconfig",
        files: Vec::new(),
        environment: Vec::new(),
        arguments: Vec::new(),
        manner: Manner {
            certificate: "server",
            is_old: false,
            answers: vec![VERSION],
            proxy_answers: 200,
            socks_wants_login: false,
        },
        pod: None,
        differs: None,
        says: Vec::new(),
    }
}

impl Row {
    pub fn cluster(mut self, keys: impl Into<String>) -> Row {
        self.cluster = keys.into();
        self
    }
    pub fn user(mut self, keys: impl Into<String>) -> Row {
        self.user = keys.into();
        self
    }
    pub fn context(mut self, keys: impl Into<String>) -> Row {
        self.context = format!(", {}", keys.into());
        self
    }
    pub fn kubeconfig(mut self, text: impl Into<String>) -> Row {
        self.kubeconfig = Some(text.into());
        self
    }
    pub fn path(mut self, path: &'static str) -> Row {
        self.path = path;
        self
    }
    pub fn file(mut self, name: impl Into<String>, text: impl Into<String>) -> Row {
        self.files.push((name.into(), text.into()));
        self
    }
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Row {
        self.environment.push((name.into(), value.into()));
        self
    }
    pub fn args(mut self, arguments: &[&str]) -> Row {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }
    pub fn server(mut self, certificate: &'static str) -> Row {
        self.manner.certificate = certificate;
        self
    }
    pub fn manner(mut self, change: impl FnOnce(&mut Manner)) -> Row {
        change(&mut self.manner);
        self
    }
    pub fn pod(mut self, files: &[(&'static str, &str)]) -> Row {
        self.pod = Some(files.iter().map(|&(name, text)| (name, text.to_owned())).collect());
        self
    }
    pub fn differs(mut self, why: &'static str, ours: Ours) -> Row {
        self.differs = Some((why, ours));
        self
    }
    pub fn says(mut self, words: &'static str) -> Row {
        self.says.push(words);
        self
    }

    /// Its kubeconfig, before what is in braces is filled in.
    pub fn text(&self) -> String {
        if let Some(text) = &self.kubeconfig {
            return text.clone();
        }
        let Row { cluster, user, context, .. } = self;
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- {{name: c, context: {{cluster: k, user: u{context}}}}}\n\
             clusters:\n- {{name: k, cluster: {{{cluster}}}}}\nusers:\n- {{name: u, user: {{{user}}}}}\n"
        )
    }

    pub fn kubectl(&self, kubectl: &Path) -> Did {
        let mut command = Command::new(kubectl);
        command.env_clear().arg("version");
        self.run(command)
    }

    /// `plan` of an empty image group: the first request is for the version, the next one ends it.
    pub fn ours(&self) -> Did {
        let mut command = quayctl();
        command.args(["plan", "--config", "{dir}/quayctl.toml"]);
        self.run(command)
    }

    fn run(&self, command: Command) -> Did {
        let world = World::start(self.manner.clone());
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let filled = |text: &str| filled(text, &world, dir);
        fs::write(dir.join("quayctl.toml"), "[[groups]]\nname = \"g\"\nimages = [\"a.test/b:1\"]\n").unwrap();
        for (name, text) in self
            .files
            .iter()
            .map(|(name, text)| (name.as_str(), text.clone()))
            .chain([(self.path, self.text())])
        {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, filled(&text)).unwrap();
            let mode = if text.starts_with("#!") { 0o755 } else { 0o600 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let program = command.get_program().to_owned();
        let mut arguments: Vec<String> =
            command.get_args().map(|text| filled(text.to_str().unwrap())).collect();
        arguments.extend(self.arguments.iter().map(|text| filled(text)));
        let mut command = match &self.pod {
            None => Command::new(program),
            Some(files) => in_pod(&program, files, dir, &filled),
        };
        command
            .args(arguments)
            .env_clear()
            .env("HOME", dir)
            .env("PATH", std::env::var("PATH").unwrap())
            .current_dir(dir);
        if !self.environment.iter().any(|(name, _)| name == "KUBECONFIG") {
            command.env("KUBECONFIG", dir.join(self.path));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, filled(value))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = support::output_of(command.spawn().expect("the command starts"));
        let mut records = world.records();
        // What is tried again arrives again.
        records.dedup();
        for name in ["info", "info-2"] {
            if let Ok(text) = fs::read_to_string(dir.join(name)) {
                records.push(Record::from([("plugin", told(&text, &world, dir))]));
            }
        }
        let stderr = ended.stderr.replace(dir.to_str().unwrap(), "DIR");
        Did { records, code: ended.code, stderr }
    }
}

/// What a plugin was told, in an order of its own and without what is null.
fn told(text: &str, world: &World, dir: &Path) -> String {
    let mut told: serde_json::Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    if let Some(cluster) = told["spec"].get_mut("cluster").and_then(|cluster| cluster.as_object_mut()) {
        cluster.retain(|_, value| !value.is_null());
    }
    let text = told.to_string().replace(&format!(":{}", world.server), ":SERVER");
    text.replace(&format!(":{}", world.proxy), ":PROXY").replace(dir.to_str().unwrap(), "DIR")
}

fn filled(text: &str, world: &World, dir: &Path) -> String {
    let mut text = text
        .replace("{port}", &world.server.to_string())
        .replace("{proxy}", &world.proxy.to_string())
        .replace("{dir}", dir.to_str().unwrap())
        .replace("{pki}", pki().to_str().unwrap());
    while let Some(at) = text.find("{b64 ") {
        let end = at + text[at..].find('}').unwrap();
        let data = STANDARD.encode(pem(&text[at + 5..end]));
        text.replace_range(at..=end, &data);
    }
    text
}

/// The program where a pod's service account is: mounted for it alone, with these files of `dir/account`.
pub fn in_pod(
    program: &std::ffi::OsStr,
    files: &[(&str, String)],
    dir: &Path,
    filled: &dyn Fn(&str) -> String,
) -> Command {
    let account: PathBuf = dir.join("account");
    fs::create_dir_all(&account).unwrap();
    for (name, text) in files {
        fs::write(account.join(name), filled(text)).unwrap();
    }
    let script = "set -e; mount -t tmpfs tmpfs /var/run; mkdir -p /var/run/secrets/kubernetes.io; \
                  ln -s \"$1\" /var/run/secrets/kubernetes.io/serviceaccount; shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    let flags: &[&str] = if rustix::process::geteuid().is_root() { &["-m"] } else { &["-rm"] };
    command.args(flags).args(["sh", "-c", script, "sh"]).arg(account).arg(program);
    command
}

/// The authority of a cluster of a kubeconfig, which has it as data or as a file.
pub fn authority_of(cluster: &serde_json::Value) -> String {
    match cluster["certificate-authority-data"].as_str() {
        Some(data) => String::from_utf8(STANDARD.decode(data).unwrap()).unwrap(),
        None => fs::read_to_string(cluster["certificate-authority"].as_str().unwrap()).unwrap(),
    }
}
