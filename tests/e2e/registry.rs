//! The registries of the site, commanded through their program (tests/cluster/registry).

use std::process::Command;

use serde_json::Value;

use crate::support::bed::program;
use crate::support::ended;

/// The registries' program and where it is commanded.
#[derive(Debug, Clone)]
pub struct Registry {
    control: String,
}

impl Registry {
    pub fn new(control: &str) -> Registry {
        Registry { control: control.to_owned() }
    }

    /// Runs one of its commands, and gives what it printed.
    #[track_caller]
    pub fn command(&self, words: &[&str], flags: &[&str]) -> Value {
        let mut command = Command::new(program("registry"));
        command.args(words).args(["--control", &self.control]).args(flags);
        ended(&mut command).expect_code(0).json()
    }

    /// A face of its own for one test: nothing that is done to it touches another.
    #[track_caller]
    pub fn face(&self, name: &str, flags: &[&str]) -> Face {
        // A cluster that was kept may have it from an earlier run.
        self.remove_face(name);
        let made = self.command(&["face", "add", name], flags);
        let host = made["host"].as_str().expect("a face has a host").to_owned();
        Face { registry: self.clone(), name: name.to_owned(), host }
    }

    fn remove_face(&self, name: &str) {
        let mut command = Command::new(program("registry"));
        let _ = command.args(["face", "remove", name, "--control", &self.control]).output();
    }

    /// Builds an image and puts it into the store, where every face shows it. With the static helper as
    /// its program, so that it can be run.
    #[track_caller]
    pub fn push(&self, reference: &str, flags: &[&str]) -> Value {
        let helper = format!("/pause={}/pause", crate::site::programs());
        let program = ["--file", &helper, "--entrypoint", "/pause"];
        self.command(&["push", reference], &[&program, flags].concat())
    }
}

/// One way to reach the registries' store.
#[derive(Debug)]
pub struct Face {
    registry: Registry,
    name: String,
    /// As it stands in references: `NAME.test:PORT`.
    pub host: String,
}

impl Face {
    /// The reference of an image at this face.
    pub fn image(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host)
    }

    /// Listens no longer, for good. Nothing to speak of where that fails.
    pub fn remove(&self) {
        self.registry.remove_face(&self.name);
    }

    /// Lets requests fail from now on.
    #[track_caller]
    pub fn fault(&self, effect: &str, flags: &[&str]) {
        self.registry.command(&["fault", "add", &self.name, "--effect", effect], flags);
    }

    /// Lets all requests succeed again.
    #[track_caller]
    pub fn heal(&self) {
        self.registry.command(&["fault", "clear", &self.name], &[]);
    }

    /// Refuses connections, and cuts those that are open.
    #[track_caller]
    pub fn stop(&self) {
        self.registry.command(&["face", "stop", &self.name], &[]);
    }

    /// Listens at the same port again.
    #[track_caller]
    pub fn start(&self) {
        self.registry.command(&["face", "start", &self.name], &[]);
    }

    /// Sends what images are made of no faster than this, to each request.
    #[track_caller]
    pub fn throttle(&self, bytes_per_second: u32) {
        self.fault("throttle", &["--path", "/blobs/", "--rate", &bytes_per_second.to_string()]);
    }

    /// How many requests it is answering right now: with [`Face::throttle`], how many blobs are being pulled.
    #[track_caller]
    pub fn active(&self) -> u64 {
        self.counts()["active"].as_u64().expect("a face counts what it is doing")
    }

    /// What it was asked for since the last call.
    #[track_caller]
    pub fn counts_until_now(&self) -> Value {
        self.registry.command(&["counts", &self.name], &["--reset"])[&self.name].take()
    }

    /// What it was asked for.
    #[track_caller]
    pub fn counts(&self) -> Value {
        self.registry.command(&["counts", &self.name], &[])[&self.name].take()
    }
}
