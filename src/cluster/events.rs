//! Kubernetes Events on our own pod: what `kubectl describe pod` shows of runs and reloads.
//!
//! For people who look, never for anything to wait for: [`EventRecorder::record`] puts a text into a short
//! queue and returns. One task writes them one after the other, gives each a few seconds and tries none
//! twice. What is lost is in the log and in the metrics too. It creates and patches events of
//! `events.k8s.io` and nothing else.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

use super::Cluster;
use super::error::{Access, ClusterError, call_error};
use super::retry::no_answer;
use crate::outside_text::one_line_within;

/// More than are said at once where every group of a large config begins.
const QUEUE: usize = 64;
/// An event is a few hundred bytes; past this the API server has other worries.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The API server refuses a longer note.
const NOTE_BYTES_MAX: usize = 1024;

/// The pod that this process runs in, by the downward API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    pub name: String,
    pub namespace: String,
    /// Without it the event is about whatever pod has the name.
    pub uid: Option<String>,
}

/// What is worth an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerEvent {
    RunStarted { group: String, run_id: String },
    RunFinished { group: String, run_id: String, text: String },
    RunFailed { group: String, run_id: String, text: String },
    ConfigReloadFailed { text: String },
    ConfigReloaded,
}

/// Writes events as long as a clone of it is there.
#[derive(Clone, Debug)]
pub struct EventRecorder(Sender<ControllerEvent>);

impl EventRecorder {
    /// Never waits. Where the queue is full, this one is left out.
    pub fn record(&self, event: ControllerEvent) {
        if let Err(error) = self.0.try_send(event) {
            tracing::debug!(%error, "an event is left out");
        }
    }
}

impl Cluster {
    /// Writes what the recorder is given on `pod`, as `instance`. Needs tokio's runtime.
    pub fn event_recorder(&self, pod: OwnPod, instance: &str) -> EventRecorder {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(EventWriter::new(self, pod, instance).write_all(receiver));
        EventRecorder(sender)
    }
}

struct EventWriter {
    client: Client,
    server: String,
    reporter: Reporter,
    pod: ObjectReference,
    /// By reason: the last note, and who has it as the event that a repetition counts up.
    last: HashMap<&'static str, (String, Recorder)>,
    warned: bool,
}

impl EventWriter {
    fn new(cluster: &Cluster, pod: OwnPod, instance: &str) -> EventWriter {
        EventWriter {
            client: cluster.client.clone(),
            server: cluster.server.clone(),
            reporter: Reporter {
                controller: "quayctl-controller".to_owned(),
                instance: Some(instance.to_owned()),
            },
            pod: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.name),
                namespace: Some(pod.namespace),
                uid: pod.uid,
                ..ObjectReference::default()
            },
            last: HashMap::new(),
            warned: false,
        }
    }

    async fn write_all(mut self, mut events: Receiver<ControllerEvent>) {
        while let Some(event) = events.recv().await {
            if let Err(error) = self.publish(&event).await {
                match std::mem::replace(&mut self.warned, true) {
                    false => tracing::warn!("cannot write events on our pod, continuing without: {error}"),
                    true => tracing::debug!("cannot write an event on our pod: {error}"),
                }
            }
        }
    }

    async fn publish(&mut self, event: &ControllerEvent) -> Result<(), ClusterError> {
        let EventFields { type_, reason, action, note } = EventFields::new(event);
        // kube's recorder takes two events for the same whatever their notes say, and keeps the first
        // note. So one of its own is asked for each note, and what is counted up is equal.
        let recorder = match self.last.remove(reason) {
            Some((said, recorder)) if said == note => recorder,
            _ => Recorder::new(self.client.clone(), self.reporter.clone()),
        };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.clone()),
            action: action.to_owned(),
            secondary: None,
        };
        let written = timeout(WRITE_TIMEOUT, recorder.publish(&event, &self.pod)).await;
        if let Err(error) = written.unwrap_or_else(|_| Err(no_answer(WRITE_TIMEOUT))) {
            let namespace = self.pod.namespace.as_deref();
            let access = Access { verb: "create or patch", resource: "events.events.k8s.io", namespace };
            return Err(call_error(&self.server, access, &error));
        }
        self.last.insert(reason, (note, recorder));
        Ok(())
    }
}

struct EventFields {
    type_: EventType,
    reason: &'static str,
    action: &'static str,
    note: String,
}

impl EventFields {
    fn new(event: &ControllerEvent) -> EventFields {
        let (type_, reason, action, note) = match event {
            ControllerEvent::RunStarted { group, run_id } => {
                (EventType::Normal, "RunStarted", "StartRun", format!("group {group}, run {run_id}"))
            }
            ControllerEvent::RunFinished { group, run_id, text } => {
                let note = format!("group {group}, run {run_id}: {text}");
                (EventType::Normal, "RunFinished", "FinishRun", note)
            }
            ControllerEvent::RunFailed { group, run_id, text } => {
                let note = format!("group {group}, run {run_id}: {text}");
                (EventType::Warning, "RunFailed", "FinishRun", note)
            }
            ControllerEvent::ConfigReloadFailed { text } => {
                let note = format!("keeping the last valid config: {text}");
                (EventType::Warning, "ConfigReloadFailed", "ReloadConfig", note)
            }
            ControllerEvent::ConfigReloaded => {
                let note = "the changed config is in force".to_owned();
                (EventType::Normal, "ConfigReloaded", "ReloadConfig", note)
            }
        };
        EventFields { type_, reason, action, note: cut(note) }
    }
}

/// At most as many bytes as the API server takes. What is cut is the middle: a cause stands at the end.
pub fn cut(note: String) -> String {
    one_line_within(&note, NOTE_BYTES_MAX).into_owned()
}

#[cfg(test)]
pub mod tests;
